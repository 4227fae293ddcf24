"""Every setting: its environment variable, its default, and what it means, in one table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from chaosmesh_ext.errors import InvalidInput, NotFound
from chaosmesh_ext.names import check_label

__all__ = ["TABLE", "Setting", "Settings", "load", "program", "shipped"]


class Setting(msgspec.Struct, frozen=True):
    """One line of the table.

    name: attribute of `Settings`. variable: its environment variable. default: used when the variable is unset or
    empty; its type is the setting's type. help: one line for people. secret: its value is shown nowhere. allowed: of a
    number, the least and the most. label: it is the name of a namespace.
    """

    name: str
    variable: str
    default: Any
    help: str
    secret: bool = False
    allowed: tuple[float, float] | None = None
    label: bool = False

    def read(self, text: str) -> Any:
        """What TEXT says. Raises InvalidInput, naming the variable, for another type or number than is allowed."""
        kind = type(self.default)
        try:
            value: Any = _truth(text) if kind is bool else kind(text)
        except ValueError:
            wanted = "true or false" if kind is bool else f"a number{self._range()}"
            raise InvalidInput(
                f"{self.variable}={text[:40]!r} is not a {kind.__name__}: {self.help}; unset it or give {wanted}"
            ) from None
        # so that nan, which is neither less nor more than anything, is not allowed
        if self.allowed is not None and not self.allowed[0] <= value <= self.allowed[1]:
            raise InvalidInput(
                f"{self.variable}={text[:40]!r} is not allowed: {self.help}; unset it or give a number{self._range()}"
            )
        if self.label:
            check_label(f"{self.variable}, the {self.help[0].lower()}{self.help[1:]}:", text)
        return value

    def _range(self) -> str:
        return f" from {self.allowed[0]:g} to {self.allowed[1]:g}" if self.allowed else ""


def _reaching(name: str, what: str) -> tuple[Setting, ...]:
    """How WHAT, whose URL is the setting NAME_url, is spoken to: the same six for each."""

    def line(end: str, default: Any, text: str, *, secret: bool = False) -> Setting:
        return Setting(f"{name}_{end}", f"{name}_{end}".upper(), default, text, secret)

    return (
        line("token", "", f"Bearer token for {what}", secret=True),
        line("headers", "", f"More headers for {what}: X-Scope-OrgID=team-a,X-Other=b, or a JSON object", secret=True),
        line("ca", "", f"Who may vouch for {what}: a file of certificates, or PEM itself"),
        line("client_cert", "", f"Our certificate for {what}: a file, or PEM itself"),
        line("client_key", "", f"The key of our certificate for {what}: a file, or PEM itself", secret=True),
        line("insecure", default=False, text=f"Take any certificate for {what}'s"),
    )


def _number(name: str, variable: str, default: float, allowed: tuple[float, float], text: str) -> Setting:
    """A setting that is a number: which ones make sense is part of it, because a limit of nan limits nothing."""
    return Setting(name, variable, default, text, allowed=allowed)


TABLE: tuple[Setting, ...] = (
    Setting("app_url", "APP_URL", "", "Origin of the application under test, no path, e.g. http://127.80.1.1:8080"),
    *_reaching("app", "the application"),
    Setting("jaeger_url", "JAEGER_URL", "", "Base of Jaeger's query service, without /api"),
    *_reaching("jaeger", "Jaeger"),
    Setting("zipkin_url", "ZIPKIN_URL", "", "Base of Zipkin, without /api; instead of Jaeger"),
    *_reaching("zipkin", "Zipkin"),
    Setting("tempo_url", "TEMPO_URL", "", "Base of Tempo, without /api; instead of Jaeger"),
    *_reaching("tempo", "Tempo"),
    Setting("prometheus_url", "PROMETHEUS_URL", "", "Base of Prometheus, without /api"),
    *_reaching("prometheus", "Prometheus"),
    Setting("namespace", "CHAOSMESH_NAMESPACE", "default", "Namespace of the workloads under test", label=True),
    _number(
        "proof_timeout",
        "CHAOSMESH_PROOF_TIMEOUT",
        10.0,
        (0.1, 600),
        "Seconds within which a fault must be shown to be live",
    ),
    Setting("carrier", "CHAOSMESH_CARRIER", "auto", "auto, envoyfilter or virtualservice: what carries a fault"),
    # Kubernetes keeps whole seconds, 1 at least; for longer than ten minutes nobody should wait for the janitor
    _number(
        "lease_duration",
        "CHAOSMESH_LEASE_DURATION",
        15.0,
        (1, 600),
        "Seconds that a run's Lease lives without renewal",
    ),
    _number("max_run", "CHAOSMESH_MAX_RUN", 3600.0, (1, 86400), "Most seconds that a run may last; then it is undone"),
    Setting(
        "system_namespace",
        "CHAOSMESH_SYSTEM_NAMESPACE",
        "chaosmesh-system",
        "Namespace of the janitor and halts",
        label=True,
    ),
    Setting(
        "any_namespace",
        "CHAOSMESH_ANY_NAMESPACE",
        default=False,
        help="Faults are allowed in namespaces without the label",
    ),
    _number("max_hosts", "CHAOSMESH_MAX_HOSTS", 10, (1, 1000), "Most hosts that one run may fault at once"),
    _number(
        "max_percentage",
        "CHAOSMESH_MAX_PERCENTAGE",
        100.0,
        (0, 100),
        "Most of everybody's requests that a fault may hit, in percent",
    ),
    Setting("guarded_contexts", "CHAOSMESH_GUARDED_CONTEXTS", "prod", "Contexts that need --yes: a regular expression"),
    Setting("yes", "CHAOSMESH_YES", default=False, help="As --yes: the guarded context is meant"),
    Setting(
        "without_janitor",
        "CHAOSMESH_WITHOUT_JANITOR",
        default=False,
        help="As --without-janitor: inject though none runs",
    ),
    Setting(
        "config_cluster",
        "CHAOSMESH_CONFIG_CLUSTER",
        default=False,
        help="The callers' istiod reads the configuration of this cluster",
    ),
    _number(
        "lab_block",
        "CHAOSMESH_LAB_BLOCK",
        0,
        (0, 254),
        "Second byte of a lab's addresses, 64 to 254; 0: the first free",
    ),
    Setting("tools", "CHAOSMESH_TOOLS", "", "Folder of the lab's real control plane; empty: in the user's cache"),
    _number("request_budget", "CHAOSMESH_REQUEST_BUDGET", 2, (1, 100), "Most marked requests in flight at once"),
)


class Settings(msgspec.Struct, frozen=True):
    """The settings in force; see `TABLE` for the meaning of each.

    cluster: which Kubernetes, where Chaos Toolkit's secrets say so: KUBECONFIG, KUBERNETES_CONTEXT and their kin.
    Nothing that is secret is shown by `repr`.
    """

    app_url: str = ""
    app_token: str = ""
    app_headers: str = ""
    app_ca: str = ""
    app_client_cert: str = ""
    app_client_key: str = ""
    app_insecure: bool = False
    jaeger_url: str = ""
    jaeger_token: str = ""
    jaeger_headers: str = ""
    jaeger_ca: str = ""
    jaeger_client_cert: str = ""
    jaeger_client_key: str = ""
    jaeger_insecure: bool = False
    zipkin_url: str = ""
    zipkin_token: str = ""
    zipkin_headers: str = ""
    zipkin_ca: str = ""
    zipkin_client_cert: str = ""
    zipkin_client_key: str = ""
    zipkin_insecure: bool = False
    tempo_url: str = ""
    tempo_token: str = ""
    tempo_headers: str = ""
    tempo_ca: str = ""
    tempo_client_cert: str = ""
    tempo_client_key: str = ""
    tempo_insecure: bool = False
    prometheus_url: str = ""
    prometheus_token: str = ""
    prometheus_headers: str = ""
    prometheus_ca: str = ""
    prometheus_client_cert: str = ""
    prometheus_client_key: str = ""
    prometheus_insecure: bool = False
    namespace: str = "default"
    proof_timeout: float = 10.0
    carrier: str = "auto"
    lease_duration: float = 15.0
    max_run: float = 3600.0
    system_namespace: str = "chaosmesh-system"
    any_namespace: bool = False
    max_hosts: int = 10
    max_percentage: float = 100.0
    guarded_contexts: str = "prod"
    yes: bool = False
    without_janitor: bool = False
    config_cluster: bool = False
    lab_block: int = 0
    tools: str = ""
    request_budget: int = 2
    cluster: Mapping[str, str] = {}

    def __repr__(self) -> str:
        values = [(one.name, getattr(self, one.name)) for one in TABLE if getattr(self, one.name) != one.default]
        hidden = {one.name for one in TABLE if one.secret}
        return f"Settings({', '.join(f'{name}=…' if name in hidden else f'{name}={at!r}' for name, at in values)})"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Raises InvalidInput when a variable's text is not of the setting's type, or a number that is not allowed.
    """
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for setting in TABLE:
        text = env.get(setting.variable, "")
        values[setting.name] = setting.read(text) if text else setting.default
    return Settings(**values)


def _truth(text: str) -> bool:
    """What TEXT says of a setting that is true or false; raises ValueError for anything else than the usual words."""
    try:
        return _WORDS[text.strip().lower()]
    except KeyError as error:
        raise ValueError(text) from error


_WORDS: Final = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def shipped(name: str) -> Path:
    """The folder NAME of files that come with the distribution: ``manifests`` or ``experiments``.

    A wheel carries them inside the package, a source tree (an editable install too) beside it.
    Raises NotFound when neither does.
    """
    package = Path(__file__).parent
    for folder in (package / "shipped" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise NotFound(f"{name}/ is neither in {package} nor beside it: install chaosmesh-ext again")


def program(name: str, settings: Settings, given: str = "") -> Path:
    """The program NAME: GIVEN (a file), on PATH, or as `chaos mesh lab tools` built it.

    Raises NotFound when it is in none of these places.
    """
    if given:
        if not os.access(given, os.X_OK) or Path(given).is_dir():
            raise NotFound(f"{given} is no program: name the file of {name}, or leave it out")
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chaosmesh-ext" / "tools"
    built = Path(settings.tools or cache).expanduser() / "bin" / name
    if found := shutil.which(name):
        return Path(found)
    if os.access(built, os.X_OK):
        return built
    raise NotFound(
        f"{name} is neither on PATH nor in {built.parent}: install it, or get it with `chaos mesh lab tools --only "
        f"{name}`"
    )
