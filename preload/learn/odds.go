package learn

// Source is a way to predict.
type Source uint8

// The sources of predictions.
const (
	Sequence    Source = iota // what follows in one client's session
	Association               // what follows in the requests of all clients of a tenant
	Periodic                  // keys asked for at regular times
	Refresh                   // keys whose copy is about to expire
	Pattern                   // the next number of a family of keys
	Sources                   // how many there are
)

// odds are what predictions of one kind came to: a reliability curve, learned.
type odds struct {
	n, wins, worth float32
}

// oddsFade is when the counts are halved.
const oddsFade = 512

// open takes in a prediction. It counts as wrong until it came true, since those that come true are
// known sooner than those that don't: else young odds would be far too good.
func (o *odds) open() {
	o.n++
	if o.n >= oddsFade {
		o.n /= 2
		o.wins /= 2
		o.worth /= 2
	}
}

func (o *odds) win(win, worth float32) {
	o.wins = min(o.wins+win, o.n)
	o.worth = min(o.worth+worth, o.n)
}

// cell names the odds of a prediction: a fine one, and a coarse one to fall back on while the fine one
// has seen little.
type cell struct{ fine, coarse uint16 }

const (
	priorFine   = 6
	priorCoarse = 6
)

type oddsTable struct {
	fine   []odds
	coarse []odds
	priors []float32 // of the coarse
}

func newOddsTable() *oddsTable {
	t := &oddsTable{fine: make([]odds, cellCount), coarse: make([]odds, coarseCount), priors: make([]float32, coarseCount)}
	for i := range t.priors {
		t.priors[i] = 0.1
	}
	for c := range ruleKinds * leadClasses {
		for ratio := range ratioLevels {
			t.priors[c*ratioLevels+ratio] = 0.4 * (float32(ratio) + 0.5) / ratioLevels
		}
	}
	return t
}

func (t *oddsTable) get(c cell) (p, worth float32) {
	q := &t.coarse[c.coarse]
	prior := t.priors[c.coarse]
	cp := (q.wins + priorCoarse*prior) / (q.n + priorCoarse)
	cw := (q.worth + priorCoarse*prior) / (q.n + priorCoarse)
	f := &t.fine[c.fine]
	return (f.wins + priorFine*cp) / (f.n + priorFine), (f.worth + priorFine*cw) / (f.n + priorFine)
}

func (t *oddsTable) open(c cell) {
	t.fine[c.fine].open()
	t.coarse[c.coarse].open()
}

func (t *oddsTable) win(c cell, win, worth float32) {
	t.fine[c.fine].win(win, worth)
	t.coarse[c.coarse].win(win, worth)
}

// The cells of rules: kind (order of the sequence, or association), class of lead, chances, ratio, and
// how often the key is asked for anyway.
const (
	ruleKinds    = orders + 1
	leadClasses  = 3
	chanceLevels = 6
	ratioLevels  = 10
	popLevels    = 5
	ruleCells    = ruleKinds * leadClasses * chanceLevels * ratioLevels * popLevels
	ruleCoarse   = ruleKinds * leadClasses * ratioLevels

	rateLevels    = 10
	recentLevels  = 4
	refreshCells  = 4 * rateLevels * rateLevels * recentLevels
	refreshCoarse = rateLevels * rateLevels

	periodCells  = 8 * 8
	periodCoarse = 8

	strideCells = 4 * 2 * 2
	linkRanks   = 8

	refreshAt = ruleCells
	periodAt  = refreshAt + refreshCells
	strideAt  = periodAt + periodCells
	linkAt    = strideAt + strideCells
	cellCount = linkAt + MaxLinks*linkRanks

	refreshAtC  = ruleCoarse
	periodAtC   = refreshAtC + refreshCoarse
	strideAtC   = periodAtC + periodCoarse
	linkAtC     = strideAtC + 4
	coarseCount = linkAtC + MaxLinks
)

// strideCell: the size of a step, whether it was made before, and how far ahead.
func strideCell(step int64, length int, ahead int64) cell {
	size := 3
	switch {
	case step == 1:
		size = 0
	case step == -1:
		size = 1
	case step > -64 && step < 64:
		size = 2
	}
	return cell{fine: uint16(strideAt + (size*2+length)*2 + int(ahead-1)), coarse: uint16(strideAtC + length*2 + int(ahead-1))}
}

// linkCell: the link, and the place among those named.
func linkCell(l Link, rank int) cell {
	level := 0
	for n := rank; n > 0 && level < linkRanks-1; n /= 2 {
		level++
	}
	return cell{fine: uint16(linkAt + int(l)*linkRanks + level), coarse: uint16(linkAtC + int(l))}
}

func ruleCell(kind, class int, hits, chances uint8, pop int) cell {
	level := 0
	switch {
	case chances <= 1:
	case chances == 2:
		level = 1
	case chances <= 4:
		level = 2
	case chances <= 8:
		level = 3
	case chances <= 16:
		level = 4
	default:
		level = 5
	}
	ratio := min(ratioLevels-1, int(hits)*ratioLevels/int(max(chances, 1)))
	k := kind*leadClasses + class
	return cell{fine: uint16(((k*chanceLevels+level)*ratioLevels+ratio)*popLevels + pop), coarse: uint16(k*ratioLevels + ratio)}
}
