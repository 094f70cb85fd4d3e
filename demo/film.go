package demo

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// film is what the movie API knows of one film. Its rating and votes change from version to
// version, the rest never.
type film struct {
	id      int
	title   string
	year    int
	genre   string
	plot    string
	related []int
	// period is how long a version lasts; offset shifts its changes, so that not all films change
	// at the same moment.
	period, offset time.Duration
}

// Movie is a film as the API answers it.
type Movie struct {
	ID      int     `json:"id"`
	Title   string  `json:"title"`
	Year    int     `json:"year"`
	Genre   string  `json:"genre"`
	Plot    string  `json:"plot"`
	Rating  float64 `json:"rating"`
	Votes   int     `json:"votes"`
	Version int64   `json:"version"`
}

var (
	genres   = []string{"comedy", "crime", "drama", "fantasy", "horror", "romance", "thriller", "western"}
	openings = []string{"The Last", "A Quiet", "Beyond the", "Return of the", "The Secret", "Under the", "One More", "The Broken"}
	nouns    = []string{"River", "Harbour", "Winter", "Machine", "Garden", "Lantern", "Mountain", "Letter", "Bridge", "Orchard", "Signal", "Valley"}
	deeds    = []string{"finds a map", "loses a bet", "inherits a mill", "hears a voice on the wire", "misses the last train", "opens the wrong gate"}
	turns    = []string{"Meanwhile", "Years later", "By chance", "In the same town", "Against all advice", "On a Sunday"}
	people   = []string{"A retired engineer", "A young cook", "A pair of twins", "A lock keeper", "A night nurse", "A failed magician"}
)

const (
	// The periods of change spread evenly on a log scale between these two.
	shortestPeriod = 20 * time.Second
	longestPeriod  = 24 * time.Hour
	relatedFilms   = 6
)

func makeFilms(seed uint64, n int) []film {
	films := make([]film, n)
	for i := range films {
		r := rand.New(rand.NewPCG(seed, uint64(i)+1))
		pick := func(from []string) string { return from[r.IntN(len(from))] }
		f := &films[i]
		f.id = i + 1
		f.title = fmt.Sprintf("%s %s %d", pick(openings), pick(nouns), f.id)
		f.year = 1950 + r.IntN(75)
		f.genre = pick(genres)
		f.plot = fmt.Sprintf("%s %s.", pick(people), pick(deeds))
		for range 2 + r.IntN(9) {
			f.plot += fmt.Sprintf(" %s %s %s.", pick(turns), strings.ToLower(pick(people)), pick(deeds))
		}
		f.related = make([]int, 0, relatedFilms)
		for range relatedFilms {
			f.related = append(f.related, 1+r.IntN(n))
		}
		span := math.Log(float64(longestPeriod) / float64(shortestPeriod))
		f.period = time.Duration(float64(shortestPeriod) * math.Exp(span*r.Float64())).Round(time.Second)
		f.offset = time.Duration(r.Int64N(int64(f.period)))
	}
	return films
}

// version says which version of the film holds at now, and since when.
func (f *film) version(start, now time.Time) (int64, time.Time) {
	v := int64((now.Sub(start) + f.offset) / f.period)
	return v, start.Add(time.Duration(v)*f.period - f.offset)
}

// maxAge is what the API dares to promise: a quarter of the film's period, 1 s to 1 h.
func (f *film) maxAge() time.Duration {
	return min(max(f.period/4, time.Second), time.Hour)
}

func (f *film) movie(version int64) Movie {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%d", f.id, version)
	r := rand.New(rand.NewPCG(h.Sum64(), uint64(f.id)))
	return Movie{
		ID: f.id, Title: f.title, Year: f.year, Genre: f.genre, Plot: f.plot,
		Rating: math.Round(r.Float64()*90+10) / 10, Votes: r.IntN(100_000), Version: version,
	}
}

// film finds a film by id.
func (a *API) film(id int) (*film, bool) {
	if id < 1 || id > len(a.films) {
		return nil, false
	}
	return &a.films[id-1], true
}

// movieNow is the film as it is now.
func (a *API) movieNow(f *film) (Movie, time.Time) {
	v, since := f.version(a.start, time.Now())
	return f.movie(v), since
}
