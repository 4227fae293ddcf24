"""The table of PromQL, evaluated by Prometheus' own engine (promtool) on series that are written down."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.lab import debian
from chaosmesh_ext.observe.promql import ENVOY, REPORTERS, TABLE, Calls, down, expression, oldest

CALLS = Calls("details", "default", "productpage-v1")
NATIVE = Calls("details", "default", "productpage-v1", ENVOY)
TARGET = 'job="envoy-stats",instance="127.0.0.2:15000"'
UP = (f"up{{{TARGET}}}", "1x40")


@pytest.fixture(scope="module")
def promtool() -> Path:
    beside = debian.find("prometheus")
    found = shutil.which("promtool") or (beside and beside.with_name("promtool"))
    if not found or not Path(found).exists():
        pytest.skip("no promtool")
    return Path(found)


@pytest.fixture
def evaluates(promtool, tmp_path):
    """Sees that PROMQL comes to VALUE (None: to nothing) after 30 scrapes of SERIES, one a second."""

    def check(promql: str, value: float | None, *series: tuple[str, str]) -> None:
        samples = [] if value is None else [{"labels": "{}", "value": value}]
        test = {
            "interval": "1s",
            "input_series": [{"series": name, "values": values} for name, values in (UP, *series)],
            # what a float cannot hold must not decide
            "promql_expr_test": [{"expr": f"round({promql}, 0.000001)", "eval_time": "30s", "exp_samples": samples}],
        }
        file = tmp_path / "test.yaml"
        file.write_text(yaml.safe_dump({"evaluation_interval": "1s", "tests": [test]}))
        done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


def requests(code: str, values: str, *, flags: str = "-", destination: str = "details", **more: str) -> tuple[str, str]:
    labels = {
        "reporter": "source",
        "source_workload": "productpage-v1",
        "destination_service_name": destination,
        "destination_service": f"{destination}.default.svc.cluster.local",
        "destination_service_namespace": "default",
        "response_code": code,
        "response_flags": flags,
        **more,
    }
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"istio_requests_total{{{text},{TARGET}}}", values


def native(
    metric: str, values: str, *, subset: str = "", pod: str = "productpage-v1-abc", **more: str
) -> tuple[str, str]:
    labels = {"cluster_name": f"outbound|9080|{subset}|details.default.svc.cluster.local;", "pod": pod, **more}
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"envoy_cluster_{metric}{{{text},{TARGET}}}", values


def test_a_rate_is_what_was_called_each_second(evaluates):
    evaluates(
        expression("request_rate", CALLS, 10),
        2,
        requests("200", "0+2x40"),
        requests("200", "0+9x40", destination="reviews"),
    )


def test_the_success_rate_leaves_out_5xx_and_what_was_never_answered(evaluates):
    series = [requests("200", "0+6x40"), requests("404", "0+2x40"), requests("503", "0+1x40"), requests("0", "0+1x40")]
    evaluates(expression("success_rate", CALLS, 10), 0.8, *series)


def test_calls_that_all_succeed_have_a_rate_of_one_and_no_calls_have_none(evaluates):
    """A success rate of nothing is no success."""
    evaluates(expression("success_rate", CALLS, 10), 1, requests("200", "0+6x40"))
    evaluates(expression("success_rate", CALLS, 10), None, requests("200", "0+6x40", destination="reviews"))
    evaluates(f"{expression('success_rate', CALLS, 10)} >= 0", None, requests("200", "7x40"))


def test_grpc_says_by_its_own_status_that_a_call_failed(evaluates):
    ok = requests("200", "0+3x40", grpc_response_status="0")
    not_found = requests("200", "0+1x40", grpc_response_status="5")
    unavailable = requests("200", "0+1x40", grpc_response_status="14")
    evaluates(expression("success_rate", CALLS, 10), 0.8, ok, not_found, unavailable)


def test_other_codes_may_be_failures(evaluates):
    calls = Calls("details", "default", "productpage-v1", codes="4..")
    evaluates(expression("success_rate", calls, 10), 0.75, requests("200", "0+3x40"), requests("404", "0+1x40"))


def test_a_burst_of_a_new_error_is_seen_although_its_counter_has_no_first_sample(evaluates):
    """Fifty 503 between two scrapes begin a series at 50: `increase` of it is 0, and all would be well."""
    burst = requests("503", "_x25 46x20", flags="UO")
    fine = requests("200", "0+0.4x40")
    plain = "sum(increase(istio_requests_total{response_flags=~'.*UO.*'}[10s]))"
    evaluates(plain, 0, burst, fine)
    evaluates(expression("overflow", CALLS, 10), 46, burst, fine)
    evaluates(expression("success_rate", CALLS, 10), 0.08, burst, fine)


def test_what_a_new_target_had_counted_before_is_not_of_the_window(evaluates):
    """A Prometheus that only now began to look at a proxy knows nothing of its last ten seconds."""
    late = 'up{job="envoy-stats",instance="127.0.0.9:15000"}', "_x27 1x20"
    name, _ = requests("503", "", flags="UO")
    old = name.replace("127.0.0.2", "127.0.0.9"), "_x27 4000x20"
    evaluates(expression("overflow", CALLS, 10), 0, late, old, requests("200", "0+1x40"))


def test_what_began_at_a_new_target_after_its_first_scrape_is_of_the_window(evaluates):
    """A proxy that came up with this test: its first refusal is news."""
    new = 'up{job="envoy-stats",instance="127.0.0.9:15000"}', "_x24 1x20"
    name, _ = requests("503", "", flags="UO")
    burst = name.replace("127.0.0.2", "127.0.0.9"), "_x26 46x20"
    evaluates(expression("overflow", CALLS, 10), 46, new, burst)
    failing = 'up{job="envoy-stats",instance="127.0.0.9:15000"}', "_x24 0 0 1x20"
    evaluates(expression("overflow", CALLS, 10), 0, failing, burst)


def test_no_overflow_among_calls_is_0_and_without_calls_nothing(evaluates):
    evaluates(expression("overflow", CALLS, 10), 0, requests("200", "0+1x40"))
    evaluates(expression("overflow", CALLS, 10), None)
    evaluates(expression("overflow", CALLS, 10), 20, requests("503", "0+2x40", flags="UO,URX"), requests("200", "5x40"))


def test_flags_and_codes_choose_the_calls_of_a_rate(evaluates):
    retried = Calls("details", "default", "productpage-v1", codes="5..", flags=".*URX.*")
    evaluates(
        expression("request_rate", retried, 10), 1, requests("503", "0+1x40", flags="URX,UF"), requests("503", "0+4x40")
    )
    evaluates(expression("request_rate", retried, 10), 0, requests("200", "0+1x40"))


def test_a_quantile_is_in_seconds(evaluates):
    buckets = []
    for le, each in (("100", "0+1x40"), ("500", "0+2x40"), ("+Inf", "0+2x40")):
        name, _ = requests("200", "")
        buckets.append((name.replace("requests_total{", f'request_duration_milliseconds_bucket{{le="{le}",'), each))
    evaluates(expression("latency_quantile", CALLS, 10, quantile=0.75), 0.3, *buckets)
    evaluates(expression("latency_quantile", CALLS, 10), None)


def test_envoys_own_counters_say_the_same(evaluates):
    rate, rest = native("upstream_rq_total", "0+4x40"), native("upstream_rq_total", "0+9x40", pod="reviews-v2-x")
    evaluates(expression("request_rate", NATIVE, 10), 4, rate, rest)
    failed = native("upstream_rq_xx", "0+1x40", envoy_response_code_class="5")
    evaluates(expression("success_rate", NATIVE, 10), 0.75, native("upstream_rq_completed", "0+4x40"), failed)
    evaluates(expression("overflow", NATIVE, 10), 10, native("upstream_rq_pending_overflow", "0+1x40"))


def test_ejections_are_the_most_that_one_caller_sees(evaluates):
    """Each caller ejects by itself: the sum over callers would be more than there are."""
    everybody = Calls("details", "default", "", ENVOY)
    seen = [native("outlier_detection_ejections_active", f"{n}x40", pod=f"page-{n}") for n in (1, 2)]
    evaluates(expression("ejections", everybody, 10), 2, *seen)
    subset = Calls("details", "default", "", ENVOY, subset="v2")
    v2 = native("outlier_detection_ejections_active", "3x40", subset="v2")
    evaluates(expression("ejections", subset, 10), 3, *seen, v2)
    evaluates(expression("ejections", everybody, 10), None)


def test_a_target_that_told_of_such_calls_and_is_down_is_found(evaluates, promtool):
    dead = 'up{job="envoy-stats",instance="127.0.0.9:15000"}', "1x20 0x20"
    other = 'up{job="envoy-stats",instance="127.0.0.8:15000"}', "0x40"
    name, _ = requests("200", "")
    told = name.replace("127.0.0.2", "127.0.0.9"), "0+1x20 stale"
    evaluates(f"count({down('success_rate', CALLS, 10)})", 1, dead, other, told, requests("200", "0+1x40"))
    evaluates(f"count({down('success_rate', CALLS, 10)})", None, other, requests("200", "0+1x40"))


def test_the_oldest_sample_tells_how_fresh_the_data_are(evaluates):
    quiet = requests("404", "1x10")
    evaluates(oldest("success_rate", CALLS), 10, requests("200", "0+1x40"), quiet)
    evaluates(oldest("success_rate", CALLS), None)


@pytest.mark.parametrize("reporter", REPORTERS)
@pytest.mark.parametrize("destination", ["details", "api.example.org", 'we"ird\\na$me{}', "a.b|c*"])
def test_every_line_is_promql_whatever_is_put_into_it(promtool, tmp_path, reporter, destination):
    calls = Calls(destination, 'na"m\\e', "so$ur${ce}.*", reporter)
    table = TABLE[ENVOY if reporter == ENVOY else "istio"]
    rules = [{"record": f"a:{name}", "expr": expression(name, calls, 30.5, quantile=0.9)} for name in table]
    rules += [{"record": f"b:{name}", "expr": down(name, calls, 60)} for name in table]
    rules += [{"record": f"c:{name}", "expr": oldest(name, calls)} for name in table]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "table", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_host_is_matched_whole(evaluates):
    """`details` must not be `details-old`, nor the details of another namespace."""
    for other in ("details-old.default", "details.other", "my-details.default"):
        name, _ = native("upstream_rq_total", "")
        evaluates(expression("request_rate", NATIVE, 10), None, (name.replace("details.default", other), "0+4x40"))
    whole = Calls("details.default.svc.cluster.local", "other", "", ENVOY)
    evaluates(expression("request_rate", whole, 10), 4, native("upstream_rq_total", "0+4x40"))
    whole = Calls("details.default.svc.cluster.local", "other")
    evaluates(expression("request_rate", whole, 10), 4, requests("200", "0+4x40"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": ""}, "destination is empty"),
        ({"reporter": "sidecar"}, "reporter is 'sidecar'"),
        ({"reporter": ENVOY, "codes": "5.."}, "response codes"),
        ({"subset": "v1"}, "no subset"),
        ({"codes": "5("}, "no regular expression"),
        ({"codes": "5xx"}, "response_code is '5xx', which matches no status: write e.g. 5.. or 503"),
        ({"codes": "4..|5xx"}, "response_code is '4..|5xx', whose '5xx' matches no status"),
        ({"flags": "fi"}, "response_flags is 'fi', which matches no response flag: Envoy's are capitals, e.g. FI"),
        ({"flags": "*"}, "no regular expression"),
    ],
)
def test_calls_that_no_metric_can_tell_are_refused(arguments, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        Calls(**{"destination": "details", "namespace": "default", **arguments})


@pytest.mark.parametrize("codes", ["5..", "503", "5..|0", "[45]..", "(4..|0)", "5\\d\\d", ".*", "^5..$", "4[0-9]{2}"])
@pytest.mark.parametrize("flags", ["FI", ".*URX.*", "-", "(.*,)?UO(,.*)?", "\\w+", "(?:FI|DI)", "(?i)fi", "[a-zA-Z]+"])
def test_what_some_call_can_match_is_taken(codes, flags):
    assert Calls("details", "default", codes=codes, flags=flags).codes == codes


def test_a_metric_that_the_reporter_does_not_have_is_refused():
    with pytest.raises(InvalidInput, match="ejections is no metric of the reporter source, but of envoy"):
        expression("ejections", CALLS, 60)
