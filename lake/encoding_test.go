package lake

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/assert"
)

func TestDictionaryWherePays(t *testing.T) {
	texts := func(n int, value func(i int) string) arrow.Array {
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for i := range n {
			if v := value(i); v == "" {
				b.AppendNull()
			} else {
				b.Append(v)
			}
		}
		return b.NewArray()
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for name, c := range map[string]struct {
		values arrow.Array
		group  int64 // rows of a row group
		want   bool
	}{
		"all the same":                        {texts(8192, func(int) string { return "x" }), 0, true},
		"all NULL":                            {texts(8192, func(int) string { return "" }), 0, false},
		"nothing":                             {texts(0, nil), 1 << 17, false},
		"one of a hundred, few rows":          {texts(1000, func(int) string { return fmt.Sprint(rng.IntN(100)) }), 0, true},
		"one of 5000":                         {texts(8192, func(int) string { return fmt.Sprint("text ", rng.IntN(5000)) }), 1 << 17, true},
		"one of 5000, in a small file":        {texts(8192, func(int) string { return fmt.Sprint("text ", rng.IntN(5000)) }), 8192, false},
		"one of 5000, large ones":             {texts(8192, func(int) string { return fmt.Sprintf("%0200d", rng.IntN(5000)) }), 1 << 17, false},
		"one of 100,000":                      {texts(8192, func(int) string { return fmt.Sprint(rng.IntN(100_000)) }), 1 << 17, false},
		"one of 5000, where few have a value": {texts(8192, func(i int) string { return map[bool]string{i%100 == 0: fmt.Sprint(rng.IntN(5000))}[true] }), 1 << 17, false},
		"unique":                              {texts(8192, func(i int) string { return fmt.Sprint(i) }), 1 << 17, false},
	} {
		assert.Equal(t, c.want, repeats(c.values, c.group), name)
		c.values.Release()
	}
}

func TestPopulation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, different := range []int{10, 1000, 5000, 20_000} {
		seen := map[int]bool{}
		for range 8192 {
			seen[rng.IntN(different)] = true
		}
		assert.InEpsilon(t, different, population(len(seen), 8192), 0.1)
	}
}

// BenchmarkRepeats looks at the first rows of columns that get no dictionary and one.
func BenchmarkRepeats(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	numbers, unique, few := array.NewInt64Builder(memory.DefaultAllocator), array.NewStringBuilder(memory.DefaultAllocator), array.NewStringBuilder(memory.DefaultAllocator)
	for i := range sampleRows {
		numbers.Append(rng.Int64())
		unique.Append(fmt.Sprintf("user%d@example.com", i))
		few.Append(fmt.Sprintf("%050d", rng.IntN(5000)))
	}
	for name, c := range map[string]struct {
		values arrow.Array
		group  int64
	}{"numbers": {numbers.NewArray(), 0}, "unique": {unique.NewArray(), rowGroupRows}, "few": {few.NewArray(), rowGroupRows}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				repeats(c.values, c.group)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sampleRows, "ns/row")
		})
	}
}
