package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/internal/testenv/server"
)

// table is the 12-column mixed table of about 195 bytes a row.
const table = `
CREATE DATABASE bench;
CREATE TABLE bench.t (
  id BIGINT NOT NULL PRIMARY KEY,
  a INT NOT NULL,
  b INT UNSIGNED NULL,
  c SMALLINT NULL,
  amount DECIMAL(18,4) NOT NULL,
  created DATETIME(6) NOT NULL,
  updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  name VARCHAR(64) NOT NULL,
  email VARCHAR(100) NULL,
  notes TEXT,
  doc JSON,
  score DOUBLE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

// row is the select list of a row of the table; n is its id.
const row = `n, n*7%1000003, IF(n%10=0,NULL,n*3%4000000000), n%3000, (n*12345.6789)%1000000, '2025-01-01 00:00:00.123456'+INTERVAL n SECOND, '2025-06-01 00:00:00'+INTERVAL n%5000000 SECOND,
 CONCAT('name-',n%5000,'-',HEX(n*2654435761)), CONCAT('user',n,'@example',n%100,'.com'), REPEAT(CONCAT('text ',n%5000,' '),5), JSON_OBJECT('k',n,'v',CONCAT('s',n%5000),'f',n%5000/7e0), n/3e0`

const insertSize = 500 // rows of an insert transaction

// history describes what the binary log holds.
type history struct {
	inserts, changes int // rows
	transactions     int
}

// writeInserts puts the ids 1..n into the table, in order, 500 a transaction.
func writeInserts(ctx context.Context, s *server.MySQL, n int) (history, error) {
	if err := s.Exec(ctx, table); err != nil {
		return history{}, err
	}
	session, err := s.Session(ctx, "bench")
	if err != nil {
		return history{}, err
	}
	h := history{inserts: n}
	for from := 1; from <= n && err == nil; from += insertSize {
		if err = ctx.Err(); err != nil {
			break
		}
		err = session.Exec(insert(from, min(n, from+insertSize-1)))
		h.transactions++
	}
	return h, errors.Join(err, session.Close())
}

func insert(from, to int) string {
	return fmt.Sprintf("INSERT INTO bench.t WITH RECURSIVE s(n) AS (SELECT %d UNION ALL SELECT n+1 FROM s WHERE n<%d) SELECT %s FROM s", from, to, row)
}

// writeChanges makes n row changes on a table with the ids 1..rows, in transactions of 200 to 500 rows: half of them
// updates and a fifth deletes spread over all keys, the rest inserts. Two sessions work on keys of their own.
func writeChanges(ctx context.Context, s *server.MySQL, rows, n int) (history, error) {
	const sessions = 2
	var g errgroup.Group
	made := make([]history, sessions)
	for w := range sessions {
		g.Go(func() error {
			session, err := s.Session(ctx, "bench")
			if err != nil {
				return err
			}
			made[w], err = changes(ctx, session, rows, n/sessions, w, sessions)
			return errors.Join(err, session.Close())
		})
	}
	err := g.Wait()
	total := history{inserts: rows}
	for _, h := range made {
		total.changes += h.changes
		total.transactions += h.transactions
	}
	return total, err
}

func changes(ctx context.Context, session *server.Session, rows, n, worker, workers int) (h history, err error) {
	rng := rand.New(rand.NewPCG(uint64(worker), 11))
	alive := make([]int, 0, rows/workers)
	for id := 1 + worker; id <= rows; id += workers {
		alive = append(alive, id)
	}
	rng.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	next := rows + 1 + worker*n
	for h.changes < n {
		if err := ctx.Err(); err != nil {
			return h, err
		}
		size := min(200+rng.IntN(301), n-h.changes)
		deletes, inserts := size/5, size*3/10
		updates := size - deletes - inserts
		var gone, touched []int
		for range deletes {
			i := rng.IntN(len(alive))
			gone = append(gone, alive[i])
			alive[i] = alive[len(alive)-1]
			alive = alive[:len(alive)-1]
		}
		seen := map[int]bool{}
		for len(touched) < updates {
			if id := alive[rng.IntN(len(alive))]; !seen[id] {
				seen[id] = true
				touched = append(touched, id)
			}
		}
		err := session.Exec("BEGIN",
			"UPDATE bench.t SET a = a + 1, amount = amount + 0.5, name = CONCAT('changed-', id), score = score / 2 WHERE id IN "+list(touched),
			insert(next, next+inserts-1), "DELETE FROM bench.t WHERE id IN "+list(gone), "COMMIT")
		if err != nil {
			return h, err
		}
		for i := range inserts {
			alive = append(alive, next+i)
		}
		next += inserts
		h.changes += size
		h.transactions++
	}
	return h, nil
}

func list(ids []int) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return "(" + strings.Join(texts, ",") + ")"
}
