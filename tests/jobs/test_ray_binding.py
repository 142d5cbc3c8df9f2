import numpy as np
import pyarrow as pa
import pytest

from jobs.config import load
from jobs.job_configs import ReconstructConfig
from jobs.plan import plan_stages
from jobs.ray_binding import plan_pools, ray_session
from jobs.run import execute, prepare
from jobs.sources import Unit
from jobs.worker import unit_from_table, unit_to_table
from operators.batch import Batch
from tests.jobs.stubs import stub_stages, write_photos

STAGES = plan_stages(ReconstructConfig())


def cluster(cpus: int, gpus: int = 0) -> dict[str, float]:
    return {"CPU": float(cpus), "GPU": float(gpus)}


def execution(**changes: str):
    return load(
        ReconstructConfig, None, [(f"execution.{name.replace('__', '.')}", value) for name, value in changes.items()]
    ).execution


@pytest.mark.parametrize("kind", ["fused", "pools"])
@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 64, 1000])
@pytest.mark.parametrize("gpus", [0, 1, 4, 64])
def test_default_pools_always_fit_the_cluster(kind, cpus, gpus):
    pools = plan_pools(execution(kind=kind), STAGES, cluster(cpus, gpus), 10_000)
    assert sum(pool.min_size * pool.num_cpus for pool in pools) <= 0.9 * cpus + 1e-6
    assert sum(pool.min_size * pool.num_gpus for pool in pools) <= gpus + 1e-6
    assert all(pool.min_size >= 1 for pool in pools)
    assert any(pool.num_gpus for pool in pools) == bool(gpus)


def test_explicit_sizes_are_kept_and_shrink_only_in_cpus():
    asked = execution(
        kind="pools", pools__detect__size="3", pools__fit__min_size="1", pools__fit__max_size="4", pools__fit__num_cpus="2"
    )
    pools = {pool.name: pool for pool in plan_pools(asked, STAGES, cluster(2), 10)}
    assert (pools["detect"].min_size, pools["detect"].max_size) == (3, 3)
    assert (pools["fit"].min_size, pools["fit"].max_size) == (1, 4)
    assert sum(pool.min_size * pool.num_cpus for pool in pools.values()) <= 1.8 + 1e-6


def test_no_more_workers_than_shards():
    assert [p.min_size for p in plan_pools(execution(kind="fused"), STAGES, cluster(16), 3)] == [3]


def test_cpu_only_runs_reserve_no_gpu():
    assert not any(p.num_gpus for p in plan_pools(execution(kind="pools", device="cpu"), STAGES, cluster(16, 4), 30))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_unit_survives_as_one_arrow_row(rows):
    batch = Batch.from_images([bytes([i, 0, 0]) for i in range(rows)], shard="s")
    batch.set_faces(np.repeat(np.arange(rows), 2))
    batch.put("crop", np.arange(rows * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(rows * 2, 4, 4, 3))
    table = unit_to_table(Unit("s", 7, True, batch, ("a note",)), {"read": 0.5}, 12)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    unit, seconds, size = unit_from_table(pa.ipc.open_stream(sink.getvalue()).read_all())
    assert (unit.shard, unit.part, unit.last, unit.notes, seconds, size) == ("s", 7, True, ("a note",), {"read": 0.5}, 12)
    assert unit.batch.rows["image_bytes"] == batch.rows["image_bytes"]
    assert np.array_equal(unit.batch.faces["crop"], batch.faces["crop"])
    assert unit.batch.faces["crop"].shape == batch.faces["crop"].shape


def test_two_units_in_a_block_are_refused():
    table = unit_to_table(Unit("s", 0, True, Batch.from_images([b"x"])), {}, 1)
    with pytest.raises(RuntimeError, match="2 units"):
        unit_from_table(pa.concat_tables([table, table]))


def test_a_local_ray_listens_on_loopback_only():
    with ray_session(ReconstructConfig().execution):
        import psutil  # ray brings its own

        me = psutil.Process()
        listening = [
            (process.name(), connection.laddr.ip)
            for process in [me, *me.children(recursive=True)]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert len(listening) > 3
    assert [item for item in listening if item[1].removeprefix("::ffff:") not in ("127.0.0.1", "::1")] == []


def test_pools_that_reserve_gpus_run(tmp_path):
    import ray

    write_photos(tmp_path / "in", 5)
    wanted = {"input": str(tmp_path / "in"), "source.unit_rows": "2", "storage.fsync": "false", "execution.device": "cpu"}
    gpus = {"fused": "execution.pools.worker.num_gpus", "pools": "execution.pools.detect.num_gpus"}
    # Ray counts GPUs, it does not look for them: this needs none.
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        for kind, field in gpus.items():
            fields = {**wanted, "output": str(tmp_path / kind), "execution.kind": kind, field: "0.5"}
            tally = execute(prepare(load(ReconstructConfig, None, list(fields.items())), stub_stages()))
            assert (tally.images, tally.units) == (5, 3)
    finally:
        ray.shutdown()
