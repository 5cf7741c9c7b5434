"""Why TLS failed, and what to do about it."""

# OpenSSL, x509_vfy.h: X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH.
_EXPIRED, _OTHER_NAMES = 10, (62, 64)


def explain_tls(failure: BaseException | None) -> str:
    """Return why TLS failed, if an error or one that caused it is about TLS; else an empty text."""
    import ssl  # only needed here

    while failure is not None and not isinstance(failure, ssl.SSLError):
        failure = failure.__cause__ or failure.__context__
    if not isinstance(failure, ssl.SSLCertVerificationError):
        return f"TLS failed ({failure.reason}): does the URL need http://, or another port?" if failure else ""
    problem = f"its certificate is not valid ({failure.verify_message}): "
    if failure.verify_code == _EXPIRED:
        return f"{problem}renew it, or correct the clock of this machine"
    if failure.verify_code in _OTHER_NAMES:
        return f"{problem}use the host name that the certificate is for"
    return f"{problem}if it is from a CA of your own, set SSL_CERT_FILE to the file with the certificate of that CA"
