"""The copilot contract as a task declares it."""

from collections.abc import Mapping

from flyteidl2.core import tasks_pb2

from alula.core.launch import Staging

_FORMS = {
    tasks_pb2.DataLoadingConfig.JSON: "json",
    tasks_pb2.DataLoadingConfig.YAML: "yaml",
    tasks_pb2.DataLoadingConfig.PROTO: "proto",
}


def staging(template: tasks_pb2.TaskTemplate, variables: Mapping[str, str]) -> Staging | None:
    """What a raw container is promised; ``None`` for a task that reads its inputs itself."""
    config = template.container.data_config if template.HasField("container") else template.k8s_pod.data_config
    if not config.enabled:
        return None
    return Staging(
        inputs=variables["input"] if template.interface.inputs.variables else "",
        outputs=variables["outputPrefix"],
        raw=variables["rawOutputDataPrefix"],
        interface=template.interface.SerializeToString(),
        input_folder=config.input_path or "/var/inputs",
        output_folder=config.output_path or "/var/outputs",
        form=_FORMS.get(config.format, "json"),
        named=config.file_input_layout == tasks_pb2.DataLoadingConfig.NAMED_DIR,
    )
