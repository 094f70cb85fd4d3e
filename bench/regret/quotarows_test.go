package regret

import "time"

// More quotas than the issue names, so that nothing is fitted to those: other kinds, numbers and lengths,
// headers that tell, others on the same quota, several windows.
func init() {
	fast := func(q *quota) world {
		return world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2, quota: q}
	}
	// around are fixed rates about a mean rate.
	around := func(rate float64) []float64 {
		var all []float64
		for _, x := range []float64{.8, .9, .95, .98, .99, 1, 1.02} {
			all = append(all, x*rate)
		}
		return all
	}
	// near are fewer, for worlds of hours.
	near := func(rate float64) []float64 { return []float64{.98 * rate, rate} }
	thirty := always(30.0)
	thousand := always(1000.0)
	hour := time.Hour
	others := steps([]float64{0, 40, 0}, 60*sec, 150*sec)
	left := steps([]float64{100, 60, 100}, 60*sec, 150*sec)
	day := 24 * hour
	two := func(tells bool) *quota {
		return &quota{limit: always(10.0), burst: 10, tells: tells, also: &quota{limit: always(5000.0), period: day, fixed: true}}
	}
	ranked := func(id, title string, q *quota, warmup time.Duration) *workload {
		return &workload{
			id: id, title: title, alone: true, timeout: sec, warmup: warmup, length: warmup + 2*day, world: fast(q), ranked: true,
			callers: always(3), arrivals: always(.02), workers: []int{16}, rates: near(5000. / 86400), trip: day, optimum: always(5000. / 86400),
		}
	}
	register(
		ranked("m1", "10/s and 5,000 a day, told by headers, urgent and idle traffic", two(true), 0),
		ranked("m2", "10/s and 5,000 a day, 429 only, urgent and idle traffic, after the first two days", two(false), 2*day),
		&workload{
			id: "c3", title: "100/s rolling window, 429 only, 50 then 400 callers", timeout: sec, warmup: 20 * sec, length: 120 * sec,
			world:   fast(&quota{limit: always(100.0), rolling: true}),
			callers: steps([]int{50, 400}, 60*sec), workers: []int{16, 64}, rates: around(100), trip: ms(50), optimum: always(100.0), short: .96,
		},
		&workload{
			id: "c4", title: "500/s bucket of 20, 429 only, 300 callers", timeout: sec, warmup: 20 * sec, length: 80 * sec,
			world:   fast(&quota{limit: always(500.0), burst: 20}),
			callers: always(300), workers: []int{64}, rates: around(500), trip: ms(50), optimum: always(500.0),
		},
		&workload{
			id: "c5", alone: true, title: "30/min fixed window, 429 only, 100 callers", timeout: sec, warmup: 10 * time.Minute, length: 70 * time.Minute,
			world:   fast(&quota{limit: thirty, period: time.Minute, fixed: true}),
			callers: always(100), workers: []int{16}, rates: near(.5), trip: 60 * sec, optimum: always(.5),
		},
		&workload{
			id: "c6", alone: true, title: "30/min rolling window, 429 only, 100 callers", timeout: sec, warmup: 10 * time.Minute, length: 70 * time.Minute,
			world:   fast(&quota{limit: thirty, period: time.Minute, rolling: true}),
			callers: always(100), workers: []int{16}, rates: near(.5), trip: 60 * sec, optimum: always(.5),
		},
		&workload{
			id: "c7", alone: true, title: "1,000/h fixed window, 429 only, 100 callers", timeout: sec, warmup: 2 * hour, length: 14 * hour,
			world:   fast(&quota{limit: thousand, period: hour, fixed: true}),
			callers: always(100), workers: []int{16}, rates: near(1000. / 3600), trip: hour, optimum: always(1000. / 3600),
		},
		&workload{
			id: "c8", alone: true, title: "one call in 4 s, strict bucket, 429 only, 20 callers", timeout: sec, warmup: 5 * time.Minute, length: 65 * time.Minute,
			world:   fast(&quota{limit: always(.25), burst: 1}),
			callers: always(20), workers: []int{16}, rates: near(.25), trip: 4 * sec, optimum: always(.25),
		},
		&workload{
			id: "c9", alone: true, title: "10/s and 300/min, 429 only, 100 callers", timeout: sec, warmup: 10 * time.Minute, length: 40 * time.Minute,
			world:   fast(&quota{limit: always(10.0), burst: 10, also: &quota{limit: always(300.0), period: time.Minute, fixed: true}}),
			callers: always(100), workers: []int{16}, rates: near(5), trip: 60 * sec, optimum: always(5.0),
		},
		&workload{
			id: "d2", title: "quota 100/s, others take 40/s of it for a while, 429 only", timeout: sec, warmup: 20 * sec, length: 240 * sec,
			world:   fast(&quota{limit: always(100.0), burst: 50, others: others}),
			callers: always(100), workers: []int{64}, rates: append(around(100), 50, 55, 58, 60), trip: sec, shifts: []time.Duration{60 * sec, 150 * sec}, moves: true, optimum: left,
		},
		&workload{
			id: "q1", alone: true, title: "100/min fixed window, told by headers, 100 callers", timeout: sec, warmup: 2 * time.Minute, length: 32 * time.Minute,
			world:   fast(&quota{limit: always(100.0), period: time.Minute, fixed: true, tells: true}),
			callers: always(100), workers: []int{16}, rates: near(100. / 60), trip: 60 * sec, optimum: always(100. / 60),
		},
		&workload{
			id: "q2", alone: true, title: "100/min rolling window, its reset a sliding guess, told by headers", timeout: sec, warmup: 2 * time.Minute, length: 32 * time.Minute,
			world:   fast(&quota{limit: always(100.0), period: time.Minute, rolling: true, tells: true}),
			callers: always(100), workers: []int{16}, rates: near(100. / 60), trip: 60 * sec, optimum: always(100. / 60),
		},
	)
}
