package tuner

import (
	"fmt"
	"testing"
)

// TestBatchPlot draws docs/batching-tuner.svg: go test ./tuner -run BatchPlot -update.
func TestBatchPlot(t *testing.T) {
	left := panel{x0: 1, x1: 1000, y0: .02, y1: 1, width: 300, height: 220, top: 30, in: 45}
	left.frame("Throughput of a worker by batch size, share of endless batches",
		map[float64]string{1: "1", 10: "10", 100: "100", 1000: "1000"}, map[float64]string{.02: "2 %", .1: "10 %", .5: "50 %", .95: "95 %"})
	right := panel{left: 360, x0: 1, x1: 400, y0: 1, y1: 400, width: 300, height: 220, top: 30, in: 45}
	right.frame("Batch that 4 workers need, by load; a = 100 ms, b = 10 ms",
		map[float64]string{1: "1/s", 10: "10/s", 100: "100/s", 400: "400/s"}, map[float64]string{1: "1", 10: "10", 100: "100"})
	for i, ratio := range []float64{1, 5, 25} {
		fit := BatchFit{A: ratio * .01, B: .01, Classes: 2}
		var points [][2]float64
		for n := 1.0; n <= 1000; n *= 1.2 {
			points = append(points, [2]float64{n, n * fit.B / (fit.A + fit.B*n)})
		}
		left.line([]string{"#2a7", "#27c", "#c52"}[i], fmt.Sprintf("a/b = %.0f: enough at %.0f", ratio, fit.enough(batchLoss, 0)), points)
	}
	fit := BatchFit{A: .1, B: .01, Classes: 2}
	var points [][2]float64
	for load := 1.0; load < 360; load *= 1.1 {
		f := Flow{Seconds: 1, Workers: 4, Waits: load}
		points = append(points, [2]float64{load, max(fit.load(&f), 1)})
	}
	right.line("#27c", "L*a/(0.9*k - L*b)", points)
	svg := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 275" font-family="sans-serif" font-size="10">` + "\n" + left.b.String() + right.b.String() + "</svg>\n"
	drawn(t, "batching-tuner.svg", svg)
}
