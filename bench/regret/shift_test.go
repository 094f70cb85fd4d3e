package regret

import "time"

// Worlds whose best number of workers changes.
func init() {
	fall := steps([]float64{50, 25}, 60*sec)
	dip := steps([]float64{50, 25, 50}, 60*sec, 120*sec)
	rise := steps([]float64{12, 70}, 120*sec)
	register(
		&workload{
			id: "a", title: "50 slots of 200 ms, then 25", timeout: 4 * sec, warmup: 20 * sec, length: 120 * sec,
			world:   world{slots: fall, service: serving(always(ms(200))), spread: .2, thrash: .5},
			callers: always(200), shifts: []time.Duration{60 * sec}, trip: ms(200), workers: ladder,
			moves: true, optimum: throughput(fall, always(ms(200))), short: .93,
		},
		&workload{
			id: "f", title: "50 slots of 100 ms, 25, 50 again", timeout: 4 * sec, warmup: 20 * sec, length: 180 * sec,
			world:   world{slots: dip, service: serving(always(ms(100))), spread: .2, thrash: .5},
			callers: always(200), shifts: []time.Duration{60 * sec, 120 * sec}, trip: ms(100), workers: ladder,
			moves: true, optimum: throughput(dip, always(ms(100))),
		},
		&workload{
			id: "f2", title: "12 slots of 700 ms, then 70", timeout: 20 * sec, warmup: 40 * sec, length: 240 * sec,
			world:   world{slots: rise, service: serving(always(ms(700))), spread: .3, thrash: .3},
			callers: always(300), shifts: []time.Duration{120 * sec}, trip: ms(700), workers: append([]int{70}, ladder...),
			moves: true, optimum: throughput(rise, always(ms(700))),
			note: "nearly six times as many slots: nothing shows while the old limit holds, looks come every 8 to 12 s (tuning.probe_ratio), and each of the five steps adds half at most (tuning.step_ratio) and takes 2.3 round trips.",
		},
	)
}
