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
