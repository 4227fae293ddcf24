"""VirtualService faults."""


def test_abort(mesh, seen):
    """http.fault.abort.httpStatus answers the caller itself."""
    mesh.route("reviews", {"fault": {"abort": {"httpStatus": 503, "percentage": {"value": 100}}}})
    status, flags = mesh.flags("sleep-v1", "reviews")
    assert (status, flags) == (503, "FI")
    assert mesh.hits("reviews") == 0
    seen(f"{status} {flags}")
