package source

import (
	"fmt"
	"time"
)

// Span writes a length of time for a person: two units at most, "29 days 23 h", "5 h 12 min", "40 s".
func Span(d time.Duration) string {
	day := 24 * time.Hour
	two := func(n time.Duration, unit string, rest time.Duration, small string) string {
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, rest, small)
	}
	switch {
	case d >= 2*day:
		return two(d/day, "days", d%day/time.Hour, "h")
	case d >= time.Hour:
		return two(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	case d >= time.Minute:
		return two(d/time.Minute, "min", d%time.Minute/time.Second, "s")
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
