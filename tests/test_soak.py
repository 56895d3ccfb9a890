"""`make soak` in parts: each continues after the last one."""

from __future__ import annotations

from pathlib import Path

from tests.soak import Job, Soak, jobs


def test_part_continues_after_the_last_one(tmp_path: Path) -> None:
    """A failed job does not stop the others, and is run again first."""
    all_jobs = tuple(jobs(7, 600, 0))
    ran: list[str] = []

    def run(job: Job) -> tuple[bool, str]:
        ran.append(job.name)
        return len(ran) != 1, "output"

    Soak(all_jobs[:2], tmp_path, commit="old").run(1, 60, run)
    status = Soak(all_jobs, tmp_path).status()
    Soak(all_jobs, tmp_path, commit="new").run(1, 60, run)
    Soak(all_jobs, tmp_path, commit="new").run(1, 60, run)

    assert ran == ["worlds-7-250", "worlds-12-250", "worlds-7-250", "worlds-17-100"]
    assert status.startswith("2 of 3 jobs are done (500 of 600 worlds and races); 1 failed.")
    assert "ACR_CLEANUP_SEED=7" in status
    assert Soak(all_jobs, tmp_path).status().splitlines() == [
        "3 of 3 jobs are done (600 of 600 worlds and races); 0 failed.",
        "Code of commit new: 2 of these jobs.",
        "Code of commit old: 1 of these jobs.",
    ]


def test_part_starts_no_job_after_its_time(tmp_path: Path) -> None:
    def run(job: Job) -> tuple[bool, str]:
        raise AssertionError(job)

    Soak(tuple(jobs(7, 100, 0)), tmp_path).run(1, 0, run)


def test_all_jobs_have_names_of_their_own() -> None:
    all_jobs = tuple(jobs(1000, 20_000, 2_000))

    assert len({job.name for job in all_jobs}) == len(all_jobs)
    assert sum(job.worlds for job in all_jobs) == 24_000
