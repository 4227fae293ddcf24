"""Who is who in a lab: a certificate authority, and the server from which Envoys get their certificates."""

from chaosmesh_ext.lab.identity.authority import Authority, Certificate
from chaosmesh_ext.lab.identity.sds import SdsServer

__all__ = ["Authority", "Certificate", "SdsServer"]
