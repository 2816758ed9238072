{{- define "alula.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "alula.labels" -}}
app.kubernetes.io/name: alula
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "alula.selector" -}}
app.kubernetes.io/name: alula
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "alula.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}
{{- define "alula.tasks" -}}{{ .Values.tasks.namespace | default .Release.Namespace }}{{- end }}
{{- define "alula.api" -}}{{ include "alula.name" . }}-api.{{ .Release.Namespace }}.svc{{- end }}
{{- define "alula.url" -}}http://{{ include "alula.api" . }}{{ if ne (int .Values.service.port) 80 }}:{{ .Values.service.port }}{{ end }}{{- end }}

{{- define "alula.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "alula.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "alula.objects" -}}
{{- with .Values.objects }}
{{- if or .endpoint (not (contains "://" .bucket)) }}
endpoint = {{ required "objects.endpoint: the URL of a store that speaks S3, or in objects.bucket the URI of a bucket" .endpoint | quote }}
{{- end }}
bucket = {{ .bucket | quote }}
region = {{ .region | quote }}
{{- if .publicEndpoint }}
public_endpoint = {{ .publicEndpoint | quote }}
{{- end }}
{{- if .account }}
account = {{ .account | quote }}
{{- end }}
{{- if .buckets }}
buckets = {{ .buckets | toJson }}
{{- end }}
{{- if .keysSecret.name }}
{{- if .keysSecret.keyId }}
key_id = { env = "ALULA_OBJECTS_KEY_ID" }
{{- end }}
secret = { env = "ALULA_OBJECTS_SECRET" }
{{- end }}
{{- end }}
{{- end }}

{{- define "alula.keys" -}}
{{- with .Values.objects.keysSecret }}
{{- if and .name .keyId }}
- { name: ALULA_OBJECTS_KEY_ID, valueFrom: { secretKeyRef: { name: {{ .name }}, key: {{ .keyId }} } } }
{{- end }}
{{- if .name }}
- { name: ALULA_OBJECTS_SECRET, valueFrom: { secretKeyRef: { name: {{ .name }}, key: {{ .secret }} } } }
{{- end }}
{{- end }}
{{- end }}

{{- define "alula.secrets" -}}
- { name: ALULA_DATABASE_PASSWORD, valueFrom: { secretKeyRef: { name: {{ required "database.passwordSecret.name" .Values.database.passwordSecret.name }}, key: {{ .Values.database.passwordSecret.key }} } } }
{{- include "alula.keys" . }}
- { name: ALULA_ENCRYPTION_KEY, valueFrom: { secretKeyRef: { name: {{ required "encryption.keySecret.name" .Values.encryption.keySecret.name }}, key: {{ .Values.encryption.keySecret.key }} } } }
- { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
{{- end }}

{{- define "alula.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: http, httpHeaders: [{ name: Host, value: localhost }] }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /healthz, port: http, httpHeaders: [{ name: Host, value: localhost }] }
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: http, httpHeaders: [{ name: Host, value: localhost }] }
  periodSeconds: 5
{{- end }}

{{- define "alula.spread" -}}
topologySpreadConstraints:
{{- with .root.Values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "alula.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{- define "alula.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
