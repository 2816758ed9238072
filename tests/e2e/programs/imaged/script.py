# /// script
# requires-python = ">=3.10"
# dependencies = ["iniconfig==2.0.0"]
# ///
