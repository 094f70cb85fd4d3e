package tuner
import ("testing";"fmt";"time")
func TestZZ(t *testing.T) {
	for i, a := range []func(time.Duration) bool{tokens(7,1), rolling(45, time.Minute)} {
		q := &quotaSim{admit: a, free: 200}
		last := ""; n := 0
		q.seen = func(e QuotaEvent) {
			line := fmt.Sprintf("%s %.3f %v", q.s.note.rule, q.s.Rate(), q.s.note.reason)
			if h := q.s.Allowance(e.Now).Hold; !h.IsZero() { line += fmt.Sprintf("; next %.3f", h.Sub(simBegin).Seconds()) }
			if line != last && n < 40+30*i { n++; fmt.Printf("%d %8.3f ref=%v cyc=%v %s\n", i, q.now.Seconds(), e.Refused, q.s.cycle, line) }
			last = line
		}
		q.play(6*time.Minute)
	}
}
