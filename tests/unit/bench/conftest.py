# SPDX-License-Identifier: Apache-2.0
"""All tests of the bench find its parts."""

from tests.support.bench_parts import bench_on_the_path  # noqa: F401
