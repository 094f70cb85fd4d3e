package regret

import "time"

// Worlds whose best number of workers stays the same.
func init() {
	still50 := always(50.0)
	slower := steps([]time.Duration{ms(100), ms(200), ms(100)}, 60*sec, 120*sec)
	mixed := func(_ time.Duration, route string) time.Duration {
		if route == "fast" {
			return ms(2)
		}
		return 2 * sec
	}
	register(
		&workload{
			id: "b", title: "50 slots of 5 s", timeout: 100 * sec, warmup: 200 * sec, length: 900 * sec,
			world:   world{slots: still50, service: serving(always(5 * sec)), spread: .2, thrash: .5},
			callers: always(200), workers: ladder, trip: 5 * sec, optimum: throughput(still50, always(5*sec)),
		},
		&workload{
			id: "e", title: "50 slots of 100 ms, 200 ms, 100 ms: not our doing", timeout: 4 * sec, warmup: 20 * sec, length: 180 * sec,
			world:   world{slots: still50, service: serving(slower), spread: .2, thrash: .5},
			callers: always(200), shifts: []time.Duration{60 * sec, 120 * sec}, trip: ms(200), workers: ladder,
			optimum: throughput(still50, slower),
		},
		&workload{
			id: "g", title: "collapse beyond 20 slots of 100 ms", timeout: 4 * sec, warmup: 20 * sec, length: 120 * sec,
			world:   world{slots: always(20.0), service: serving(always(ms(100))), spread: .2, thrash: 2},
			callers: always(200), workers: ladder, trip: ms(100), optimum: throughput(always(20.0), always(ms(100))), short: .93,
			note: "failsafe-go starts with 20 and stays there, which happens to be the knee; with g2's 33 slots it stays there, too.",
		},
		&workload{
			id: "g2", title: "collapse beyond 33 slots of 300 ms", timeout: 12 * sec, warmup: 40 * sec, length: 240 * sec,
			world:   world{slots: always(33.0), service: serving(always(ms(300))), spread: .3, thrash: 2},
			callers: always(250), workers: append([]int{33}, ladder...), trip: ms(300), optimum: throughput(always(33.0), always(ms(300))),
		},
		&workload{
			id: "h", title: "bursts of 10 s on 50 slots of 200 ms, idle between", timeout: 4 * sec, warmup: 40 * sec, length: 240 * sec,
			world: world{slots: still50, service: serving(always(ms(200))), spread: .2, thrash: .5},
			callers: func(t time.Duration) int {
				if t%(30*sec) < 10*sec {
					return 150
				}
				return 0
			}, workers: ladder, trip: ms(200),
		},
		&workload{
			id: "i", title: "9 of 10 take 2 ms, one takes 2 s, 50 slots", timeout: 20 * sec, warmup: 80 * sec, length: 300 * sec,
			world:   world{slots: still50, service: mixed, spread: .2, thrash: .5},
			callers: always(200), routes: map[string]float64{"fast": .9, "slow": .1}, workers: ladder, trip: 2 * sec,
		},
		&workload{
			id: "j", title: "one request in 5 s", timeout: 10 * sec, warmup: 60 * sec, length: 1800 * sec,
			world:    world{slots: still50, service: serving(always(ms(500))), spread: .2},
			arrivals: always(.2), workers: []int{1, 8, 50}, trip: ms(500),
		},
		&workload{
			id: "n", title: "50 slots of 100 ms, an outage of 20 s, return", timeout: 4 * sec, warmup: 20 * sec, length: 140 * sec,
			world: world{slots: still50, service: serving(always(ms(100))), spread: .2, thrash: .5,
				down: steps([]bool{false, true, false}, 60*sec, 80*sec)},
			callers: always(200), workers: ladder, shifts: []time.Duration{80 * sec}, trip: ms(100),
			optimum: throughput(still50, always(ms(100))),
		},
		&workload{
			id: "o", title: "50 slots of random (exponential) 200 ms", timeout: 10 * sec, warmup: 40 * sec, length: 240 * sec,
			world:   world{slots: still50, service: serving(always(ms(200))), random: true, thrash: .5},
			callers: always(200), workers: ladder, trip: ms(200),
		},
		&workload{
			id: "p", title: "30 slots of 300 ms, heavy-tailed (Pareto 2.2)", timeout: 30 * sec, warmup: 60 * sec, length: 300 * sec,
			world:   world{slots: always(30.0), service: serving(always(ms(300))), pareto: 2.2, thrash: .5},
			callers: always(200), workers: ladder, trip: ms(300),
		},
		&workload{
			id: "q", title: "40 slots of 100 ms, the newest served first", timeout: 10 * sec, warmup: 30 * sec, length: 180 * sec,
			world:   world{slots: always(40.0), service: serving(always(ms(100))), spread: .2, thrash: .5, newest: true},
			callers: always(200), workers: ladder, trip: ms(100),
			note: "what our side gives up after 10 s stays in this upstream's queue for ever, and slows it; a limit over the slots leaves it crippled. The calls that end are quick ones, so that growth seems to pay. Until calls are given up nothing tells those that hang from slow ones; then the net, which counts answers by the clock, leaves the permits that calls hold that hang, and stays a little below the slots.",
		},
	)
}
