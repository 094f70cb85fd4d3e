package regret

import "time"

// Upstreams that tell of their quota by 429 only.
func init() {
	quotas := steps([]float64{100, 200, 50}, 60*sec, 150*sec)
	hundred := always(100.0)
	register(
		&workload{
			id: "c1", title: "100/s token bucket, 429 only, 50 then 400 callers", timeout: sec, warmup: 20 * sec, length: 120 * sec,
			world: world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2,
				quota: &quota{limit: hundred, burst: 100}},
			callers: steps([]int{50, 400}, 60*sec), workers: []int{16, 64, 400}, rates: paces, trip: ms(50), optimum: hundred,
		},
		&workload{
			id: "c2", title: "100/s fixed window, 429 only, 50 then 400 callers", timeout: sec, warmup: 20 * sec, length: 120 * sec,
			world: world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2,
				quota: &quota{limit: hundred, fixed: true}},
			callers: steps([]int{50, 400}, 60*sec), workers: []int{16, 64, 400}, rates: paces, trip: ms(50), optimum: hundred, short: .97,
		},
		&workload{
			id: "d", title: "quota 100/s, then 200/s, then 50/s", timeout: sec, warmup: 20 * sec, length: 240 * sec,
			world: world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2,
				quota: &quota{limit: quotas, burst: 50}},
			callers: always(100), workers: []int{64}, rates: paces, trip: sec, shifts: []time.Duration{60 * sec, 150 * sec},
			moves: true, optimum: quotas,
		},
	)
}
