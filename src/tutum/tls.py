"""Why TLS failed, and what to do about it."""

_OWN_CA = "if it is from a CA of your own, set SSL_CERT_FILE to the file with the certificate of that CA"
_OTHER_NAME = "use the host name that the certificate is for"
# OpenSSL, x509_vfy.h: X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH.
_ADVICE = {10: "renew it, or correct the clock of this machine", 62: _OTHER_NAME, 64: _OTHER_NAME}


def explain_tls(failure: BaseException | None) -> str:
    """Return why TLS failed, if an error or one that caused it is about TLS; else an empty text."""
    import ssl  # only needed here

    while failure is not None and not isinstance(failure, ssl.SSLError):
        failure = failure.__cause__ or failure.__context__
    if isinstance(failure, ssl.SSLCertVerificationError):
        advice = _ADVICE.get(failure.verify_code, _OWN_CA)
        return f"its certificate is not valid ({failure.verify_message}): {advice}"
    return f"TLS failed ({failure.reason}): does the URL need http://, or another port?" if failure else ""
