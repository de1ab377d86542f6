"""The recheck of a certificate against the file of the model that it is about."""

from dataclasses import replace
from pathlib import Path

from evaluators.question.certificate import Certificate
from evaluators.recheck.checker import Recheck, recheck
from evaluators.recheck.reader import read_model


def recheck_certificate(model: Path, certificate: Certificate) -> Recheck:
    """Prove a certificate's claim again, by a program that shares nothing with the methods.

    Args:
        model: the ONNX file that the certificate is about.
        certificate: of a verdict to a problem that asked for `evidence`, or one that was loaded;
            if it names no file, it is taken to be about this one.

    Returns:
        Whether it is `accepted`; the `reason` if not.

    Raises:
        UnsupportedModelError: the file holds something that the checker does not read.
    """
    checked = read_model(model.read_bytes())
    if certificate.model_sha256 is None:
        certificate = replace(certificate, model_sha256=checked.sha256)
    return recheck(checked, certificate)
