package regret

import "time"

// always is a value that does not change.
func always[T any](v T) func(time.Duration) T { return func(time.Duration) T { return v } }

// steps is v[0] until at[0], then v[1] and so on.
func steps[T any](v []T, at ...time.Duration) func(time.Duration) T {
	return func(t time.Duration) T {
		i := 0
		for i < len(at) && t >= at[i] {
			i++
		}
		return v[i]
	}
}

// serving is one service time for all routes.
func serving(f func(time.Duration) time.Duration) func(time.Duration, string) time.Duration {
	return func(t time.Duration, _ string) time.Duration { return f(t) }
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

const sec = time.Second

// throughput is what slots of a service time give.
func throughput(slots func(time.Duration) float64, service func(time.Duration) time.Duration) func(time.Duration) float64 {
	return func(t time.Duration) float64 { return slots(t) / service(t).Seconds() }
}

var (
	ladder = []int{2, 4, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50, 60, 75, 100, 150}
	paces  = []float64{0, 50, 80, 90, 95, 98, 100, 105, 120, 150, 195, 200}
)

// scenarios are those of the suite. Nobody gets a setting of his own for one of them.
func scenarios() []*scenario {
	fall := steps([]float64{50, 25}, 60*sec)
	dip := steps([]float64{50, 25, 50}, 60*sec, 120*sec)
	slower := steps([]time.Duration{ms(100), ms(200), ms(100)}, 60*sec, 120*sec)
	quotas := steps([]float64{100, 200, 50}, 60*sec, 150*sec)
	hundred := always(100.0)
	still50 := always(50.0)
	mixed := func(_ time.Duration, route string) time.Duration {
		if route == "fast" {
			return ms(2)
		}
		return 2 * sec
	}
	return []*scenario{
		{
			id: "a", title: "50 slots of 200 ms, then 25", timeout: 4 * sec, warmup: 20 * sec, length: 120 * sec,
			world:   world{slots: fall, service: serving(always(ms(200))), spread: .2, thrash: .5},
			callers: always(200), shifts: []time.Duration{60 * sec}, trip: ms(200), workers: ladder,
			optimum: throughput(fall, always(ms(200))),
		},
		{
			id: "b", title: "50 slots of 5 s", timeout: 100 * sec, warmup: 200 * sec, length: 900 * sec,
			world:   world{slots: still50, service: serving(always(5 * sec)), spread: .2, thrash: .5},
			callers: always(200), workers: ladder, trip: 5 * sec, optimum: throughput(still50, always(5*sec)),
		},
		{
			id: "c1", title: "100/s token bucket, 429 only, 50 then 400 callers", timeout: sec, warmup: 20 * sec, length: 120 * sec,
			world: world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2,
				quota: &quota{limit: hundred, burst: 100}},
			callers: steps([]int{50, 400}, 60*sec), workers: []int{16, 64, 400}, rates: paces, trip: ms(50), optimum: hundred,
		},
		{
			id: "c2", title: "100/s fixed window, 429 only, 50 then 400 callers", timeout: sec, warmup: 20 * sec, length: 120 * sec,
			world: world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2,
				quota: &quota{limit: hundred, fixed: true}},
			callers: steps([]int{50, 400}, 60*sec), workers: []int{16, 64, 400}, rates: paces, trip: ms(50), optimum: hundred,
		},
		{
			id: "d", title: "quota 100/s, then 200/s, then 50/s", timeout: sec, warmup: 20 * sec, length: 240 * sec,
			world: world{slots: always(1000.0), service: serving(always(ms(50))), spread: .2,
				quota: &quota{limit: quotas, burst: 50}},
			callers: always(100), workers: []int{64}, rates: paces, trip: sec, shifts: []time.Duration{60 * sec, 150 * sec}, optimum: quotas,
		},
		{
			id: "e", title: "50 slots of 100 ms, 200 ms, 100 ms: not our doing", timeout: 4 * sec, warmup: 20 * sec, length: 180 * sec,
			world:   world{slots: still50, service: serving(slower), spread: .2, thrash: .5},
			callers: always(200), shifts: []time.Duration{60 * sec, 120 * sec}, trip: ms(200), workers: ladder,
			optimum: throughput(still50, slower),
		},
		{
			id: "f", title: "50 slots of 100 ms, 25, 50 again", timeout: 4 * sec, warmup: 20 * sec, length: 180 * sec,
			world:   world{slots: dip, service: serving(always(ms(100))), spread: .2, thrash: .5},
			callers: always(200), shifts: []time.Duration{60 * sec, 120 * sec}, trip: ms(100), workers: ladder,
			optimum: throughput(dip, always(ms(100))),
		},
		{
			id: "g", title: "collapse beyond 20 slots of 100 ms", timeout: 4 * sec, warmup: 20 * sec, length: 120 * sec,
			world:   world{slots: always(20.0), service: serving(always(ms(100))), spread: .2, thrash: 2},
			callers: always(200), workers: ladder, trip: ms(100), optimum: throughput(always(20.0), always(ms(100))),
		},
		{
			id: "h", title: "bursts of 10 s on 50 slots of 200 ms, idle between", timeout: 4 * sec, warmup: 40 * sec, length: 240 * sec,
			world: world{slots: still50, service: serving(always(ms(200))), spread: .2, thrash: .5},
			callers: func(t time.Duration) int {
				if t%(30*sec) < 10*sec {
					return 150
				}
				return 0
			}, workers: ladder, trip: ms(200),
		},
		{
			id: "i", title: "9 of 10 take 2 ms, one takes 2 s, 50 slots", timeout: 20 * sec, warmup: 80 * sec, length: 300 * sec,
			world:   world{slots: still50, service: mixed, spread: .2, thrash: .5},
			callers: always(200), routes: map[string]float64{"fast": .9, "slow": .1}, workers: ladder, trip: 2 * sec,
		},
		{
			id: "o", title: "50 slots of random (exponential) 200 ms", timeout: 10 * sec, warmup: 40 * sec, length: 240 * sec,
			world:   world{slots: still50, service: serving(always(ms(200))), random: true, thrash: .5},
			callers: always(200), workers: ladder, trip: ms(200),
		},
		{
			id: "n", title: "50 slots of 100 ms, an outage of 20 s, return", timeout: 4 * sec, warmup: 20 * sec, length: 140 * sec,
			world: world{slots: still50, service: serving(always(ms(100))), spread: .2, thrash: .5,
				down: steps([]bool{false, true, false}, 60*sec, 80*sec)},
			callers: always(200), workers: ladder, shifts: []time.Duration{80 * sec}, trip: ms(100),
			optimum: throughput(still50, always(ms(100))),
		},
		{
			id: "j", title: "one request in 5 s", timeout: 10 * sec, warmup: 60 * sec, length: 1800 * sec,
			world:    world{slots: still50, service: serving(always(ms(500))), spread: .2},
			arrivals: always(.2), workers: []int{1, 8, 50}, trip: ms(500),
		},
	}
}
