"""All of `deploy/`: it is well-formed, and names no setting that does not exist."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from tests.deploy.kit import DEPLOY, check

from microbatch.common.settings import ClientSettings, WorkerSettings
from microbatch.common.settings.secret_files import SECRETS_DIR

if TYPE_CHECKING:
    from pathlib import Path

# Named in a comment: what Kubernetes would inject for a Service called `microbatch`.
SERVICE_LINK = "MICROBATCH_PORT"
RULES = (
    "{extends: default, rules: {document-start: disable, line-length: {max: 120}, "
    "comments: {min-spaces-from-content: 1}}}"
)


def test_yamllint_has_no_complaint() -> None:
    check(sys.executable, "-m", "yamllint", "--strict", "--config-data", RULES, DEPLOY)


def test_every_microbatch_variable_in_deploy_is_a_setting() -> None:
    known = {field.upper() for field in {*ClientSettings.model_fields, *WorkerSettings.model_fields}}
    used: dict[str, Path] = {}
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            used |= dict.fromkeys(re.findall(r"MICROBATCH_\w*[A-Za-z0-9]", path.read_text()), path)
    assert {"MICROBATCH_REDIS_URL", SERVICE_LINK, SECRETS_DIR} <= used.keys()
    unknown = {
        name: path
        for name, path in used.items()
        if name not in {SERVICE_LINK, SECRETS_DIR}
        and re.sub(r"^QUEUE__\w+?__", "", name.removeprefix("MICROBATCH_")) not in known
    }
    assert not unknown
