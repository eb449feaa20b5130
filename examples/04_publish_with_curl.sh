#!/usr/bin/env bash
# Publish a run as a CloudEvent with curl, follow it as server-sent events, and read the result.
# Any language that speaks HTTP can do the same. Needs `varloop` and `curl` on the PATH.
set -euo pipefail

folder=$(mktemp -d)
varloop serve --port 0 --store "$folder/store" >"$folder/log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null || true; rm -r "$folder"' EXIT
for _ in $(seq 100); do
    url=$(grep -o 'http://[0-9.]*:[0-9]*' "$folder/log" | head -n 1) && break
    sleep 0.2
done

# The spec: one qubit, minimise <Z> of Ry(theta)|0>. The minimum is -1, at theta = pi.
curl --fail --silent --show-error "$url/" --output /dev/null \
    --header 'content-type: application/json' \
    --header 'ce-specversion: 1.0' \
    --header 'ce-type: dev.varloop.run.submitted' \
    --header 'ce-source: example/curl' \
    --header 'ce-id: my-run' \
    --data '{"spec": {
        "problem": {"kind": "energy", "observable": [["Z", 1.0]]},
        "circuit": {"library": "real_amplitudes", "options": {"num_qubits": 1, "reps": 0}},
        "optimizer": {"name": "rotosolve"},
        "initial": [0.3],
        "shots": 1000,
        "budget": {"iterations": 3}}}'

# The stream ends when the run ends.
curl --fail --silent --no-buffer --max-time 60 "$url/runs/my-run/events" | grep '^event:'
curl --fail --silent "$url/runs/my-run" | tee "$folder/state"
echo
grep --quiet '"state": *"completed"' "$folder/state"
grep --quiet '"value": *-\(1\.0\|0\.99\)' "$folder/state"
