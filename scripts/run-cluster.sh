#!/bin/sh
# Three NATS servers joined by routes, the demo's API, and three Penstock nodes, all on loopback. Ctrl-C ends all.
# Needs nothing but Go: the NATS server is built from the module that Penstock embeds.
set -eu
cd "$(dirname "$0")/.."
base=${CLUSTER_PORT:-7400}
dir=$(mktemp -d "${TMPDIR:-/tmp}/penstock-cluster.XXXXXX")
pids=""
stop() {
	trap - INT TERM EXIT
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	for p in $pids; do wait "$p" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap 'stop; exit 0' INT TERM
trap stop EXIT

[ -x bin/scheduler ] || go build -o bin/scheduler ./cmd/scheduler
go build -o "$dir/nats-server" github.com/nats-io/nats-server/v2

routes=""
urls=""
for i in 0 1 2; do
	routes="${routes:+$routes,}nats://127.0.0.1:$((base + 10 + i))"
	urls="${urls:+$urls,}nats://127.0.0.1:$((base + i))"
done
for i in 0 1 2; do
	# sync_interval always: what was acknowledged is on the disk of two servers at least.
	cat >"$dir/nats-$i.conf" <<EOF
server_name: nats-$i
listen: 127.0.0.1:$((base + i))
jetstream { store_dir: "$dir/nats-$i", sync_interval: always, max_file_store: 8GB }
cluster { name: penstock, listen: 127.0.0.1:$((base + 10 + i)), routes: [$(echo "$routes" | sed 's/,/, /g')] }
EOF
	"$dir/nats-server" -c "$dir/nats-$i.conf" >"$dir/nats-$i.log" 2>&1 &
	pids="$pids $!"
done

api=${CLUSTER_UPSTREAM:-}
if [ -z "$api" ]; then # the demo's movie API; nobody uses the Penstock that comes with it
	api=http://127.0.0.1:$((base + 40))
	bin/scheduler demo --visitors 0 --api "127.0.0.1:$((base + 40))" --listen 127.0.0.1:0 --admin 127.0.0.1:0 >"$dir/api.log" 2>&1 &
	pids="$pids $!"
fi
for i in 0 1 2; do
	cat >"$dir/node-$i.yaml" <<EOF
data_dir: $dir/data-$i
server: {listen: "127.0.0.1:$((base + 20 + i))"}
admin: {listen: "127.0.0.1:$((base + 30 + i))"}
cluster: {url: "$urls", node: node-$i}
upstreams: {movies: {base_url: "$api"}}
routes: {movie: {upstream: movies, path: "/movies/{id}", params: {id: {}}}}
EOF
	bin/scheduler run --config "$dir/node-$i.yaml" >"$dir/node-$i.log" 2>&1 &
	pids="$pids $!"
	echo "node-$i: requests http://127.0.0.1:$((base + 20 + i))  page http://127.0.0.1:$((base + 30 + i))/  log $dir/node-$i.log"
done
echo "ask any of them: curl -i http://127.0.0.1:$((base + 20))/proxy/movies/movies/42"
echo "the nodes as one sees them: curl http://127.0.0.1:$((base + 30))/admin/v1/cluster"
echo "the upstream is $api (CLUSTER_UPSTREAM=http://... takes another); stop with Ctrl-C"
wait
