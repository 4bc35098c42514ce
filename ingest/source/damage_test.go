package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/internal/testenv"
)

// relay passes bytes between a reader and a server, and lets a test change what the server says.
func relay(t *testing.T, server string, change func(b []byte) []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = l.Close() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			wg.Go(func() {
				defer func() { _ = in.Close() }()
				buf := make([]byte, 64<<10)
				for {
					n, err := out.Read(buf)
					b := change(buf[:n])
					if _, werr := in.Write(b); werr != nil || err != nil || len(b) < n {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// untilError returns the next transaction or the end of the stream, past heartbeats.
func untilError(t *testing.T, s *Stream) (tx *Transaction, err error) {
	for tx == nil && err == nil {
		tx, err = s.Next(t.Context())
	}
	return tx, err
}

func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	p.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, s VARCHAR(50))")
	from := set(p.Executed(t))
	p.Exec(t, "INSERT INTO d.a VALUES (1,'the first'), (2,'a marker')")
	cfg := config(t, p)
	cfg.TLS = TLSOff
	flip := relay(t, p.Addr(), func(b []byte) []byte {
		if i := bytes.Index(b, []byte("a marker")); i >= 0 {
			b[i] ^= 1
		}
		return b
	})
	_, err := untilError(t, dial(t, cfg, flip, from))
	require.ErrorIs(t, err, errChecksum)
	assert.Equal(t, KindCorruption, Classify(err))
	assert.True(t, IsStreamError(err))

	// A connection that ends within a transaction: nothing of it is delivered, and the next one brings it whole.
	short := relay(t, p.Addr(), func(b []byte) []byte {
		if i := bytes.Index(b, []byte("a marker")); i >= 0 {
			return b[:i]
		}
		return b
	})
	tx, err := untilError(t, dial(t, cfg, short, from))
	assert.Nil(t, tx)
	assert.Equal(t, KindNetwork, Classify(err), "%v", err)
	var cut *CutError
	assert.False(t, errors.As(err, &cut), "no part of it was delivered")
	assert.Equal(t, "insert a;", describe(next(t, dial(t, cfg, p.Addr(), from))))

	// A server that writes no checksums can be read all the same.
	p.Exec(t, "SET GLOBAL binlog_checksum=NONE", "INSERT INTO d.a VALUES (3,'')", "INSERT INTO d.a VALUES (4,REPEAT('x',50))")
	got := ""
	reached := from.Clone()
	for _, tx := range gather(t, dial(t, cfg, p.Addr(), from), &reached, set(p.Executed(t))) {
		got += describe(tx)
	}
	assert.Equal(t, "insert a;insert a;insert a;", got)
}

// Events as large as MySQL makes them: above the packet limit of 16 MiB.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t, testenv.Args("--max-allowed-packet=128M"))
	p.Exec(t, "CREATE DATABASE d; CREATE TABLE d.big (id INT PRIMARY KEY, b LONGBLOB)")
	from := set(p.Executed(t))
	for i, size := range []int{1 << 18, 1<<24 - 100, 1 << 24, 40 << 20} {
		p.Exec(t, fmt.Sprintf("INSERT INTO d.big VALUES (%d, REPEAT('y',%d))", i, size))
	}
	cfg := config(t, p)
	reached := from.Clone()
	sum := 0
	for _, tx := range gather(t, dial(t, cfg, p.Addr(), from), &reached, set(p.Executed(t))) {
		for _, e := range tx.Events {
			sum += bytes.Count(e.Rows.Body, []byte("y"))
		}
	}
	assert.Equal(t, 1<<18+1<<24-100+1<<24+40<<20, sum)
}
