package server

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

//go:embed readers.py
var readersProgram string

// Python is a process that holds DuckDB connections and runs PyIceberg code, one request a line in, one answer a line out. Requests
// of several goroutines run at once.
type Python struct {
	proc *process
	dir  string

	mu      sync.Mutex // guards in, next and waiting
	in      *os.File
	next    int64
	waiting map[int64]chan pythonAnswer
	broken  error
}

type pythonRequest struct {
	ID   int64  `json:"id"`
	Op   string `json:"op"`
	Conn int64  `json:"conn,omitempty"`
	Text string `json:"text,omitempty"`
}

type pythonAnswer struct {
	ID    int64       `json:"id"`
	Error string      `json:"error"`
	Conn  int64       `json:"conn"`
	Types []string    `json:"types"`
	Rows  [][]*string `json:"rows"`
	Value any         `json:"value"`
}

// StartPython starts the reader process with the interpreter of the toolbox.
func StartPython(ctx context.Context, interpreter string) (_ *Python, err error) {
	dir, err := workFolder("python")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "readers.py")
	if err := os.WriteFile(program, []byte(readersProgram), 0o644); err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &Python{dir: dir, in: in, waiting: map[int64]chan pythonAnswer{}}
	// Answers have a descriptor of their own (3): libraries print on the standard output as they like.
	p.proc, err = start("the Python readers", filepath.Join(dir, "readers.log"), []string{interpreter, "-u", program}, func(cmd *exec.Cmd) {
		cmd.Stdin = theirIn
		cmd.ExtraFiles = []*os.File{theirOut}
	})
	err = errors.Join(err, theirIn.Close(), theirOut.Close())
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close(), os.RemoveAll(dir))
	}
	go p.read(out)
	if _, err := p.call(ctx, pythonRequest{Op: "ping"}); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// read hands answers to who waits for them, until the process ends.
func (p *Python) read(out *os.File) {
	lines := bufio.NewReaderSize(out, 1<<20)
	var err error
	for {
		var line []byte
		if line, err = lines.ReadBytes('\n'); err != nil {
			break
		}
		var a pythonAnswer
		if err = json.Unmarshal(line, &a); err != nil {
			break
		}
		p.mu.Lock()
		if c, ok := p.waiting[a.ID]; ok {
			delete(p.waiting, a.ID)
			c <- a
		}
		p.mu.Unlock()
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it has ended")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = errors.Join(fmt.Errorf("the Python readers: %w; their log ends:\n%s", err, p.proc.logTail()), out.Close())
	for _, c := range p.waiting {
		close(c)
	}
	clear(p.waiting)
}

func (p *Python) call(ctx context.Context, r pythonRequest) (pythonAnswer, error) {
	answer := make(chan pythonAnswer, 1)
	if err := p.send(&r, answer); err != nil {
		return pythonAnswer{}, err
	}
	select {
	case <-ctx.Done():
		return pythonAnswer{}, fmt.Errorf("the Python readers, %s: %w: %s", r.Op, ctx.Err(), shorten(r.Text))
	case a, ok := <-answer:
		switch {
		case !ok:
			p.mu.Lock()
			defer p.mu.Unlock()
			return a, p.broken
		case a.Error != "":
			return a, fmt.Errorf("%s: %s\nin: %s", r.Op, a.Error, shorten(r.Text))
		}
		return a, nil
	}
}

func (p *Python) send(r *pythonRequest, answer chan pythonAnswer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	p.next++
	r.ID = p.next
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("the Python readers, %s: %w; their log ends:\n%s", r.Op, err, p.proc.logTail())
	}
	p.waiting[r.ID] = answer
	return nil
}

// Close ends the process by closing its input.
func (p *Python) Close() error {
	p.mu.Lock()
	err := p.in.Close()
	p.mu.Unlock()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-p.proc.done:
	case <-timer.C:
		err = errors.Join(err, p.proc.kill()) // a query may still run
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// PyIceberg runs Python statements with pyiceberg importable, json and S3 settings at hand, and returns what they assigned to `result`,
// as JSON values. catalog(uri, **settings) opens a REST catalog.
func (p *Python) PyIceberg(ctx context.Context, code string) (any, error) {
	a, err := p.call(ctx, pythonRequest{Op: "python", Text: code})
	return a.Value, err
}

// DuckDB is a database in memory with the avro, httpfs and iceberg extensions loaded.
type DuckDB struct {
	python *Python
	conn   int64
}

// DuckDB opens one.
func (p *Python) DuckDB(ctx context.Context) (*DuckDB, error) {
	a, err := p.call(ctx, pythonRequest{Op: "duckdb open"})
	return &DuckDB{python: p, conn: a.Conn}, err
}

// Query runs one statement and returns its rows in the normal form (see Null).
func (d *DuckDB) Query(ctx context.Context, sql string) ([][]string, error) {
	a, err := d.python.call(ctx, pythonRequest{Op: "duckdb", Conn: d.conn, Text: sql})
	if err != nil {
		return nil, err
	}
	rows := make([][]string, len(a.Rows))
	for i, row := range a.Rows {
		rows[i] = make([]string, len(row))
		for j, v := range row {
			if rows[i][j], err = normalDuckDB(v, a.Types[j]); err != nil {
				return nil, fmt.Errorf("duckdb: row %d column %d: %w: %s", i, j, err, shorten(sql))
			}
		}
	}
	return rows, nil
}

// UseS3 makes s3:// paths go to a MinIO.
func (d *DuckDB) UseS3(ctx context.Context, hostPort, accessKey, secretKey, region string) error {
	_, err := d.Query(ctx, fmt.Sprintf("CREATE OR REPLACE SECRET s3 (TYPE s3, KEY_ID '%s', SECRET '%s', ENDPOINT '%s', REGION '%s', URL_STYLE 'path', USE_SSL false)",
		accessKey, secretKey, hostPort, region))
	return err
}

// Close ends the database.
func (d *DuckDB) Close(ctx context.Context) error {
	_, err := d.python.call(ctx, pythonRequest{Op: "duckdb close", Conn: d.conn})
	return err
}

// normalDuckDB finishes what readers.py leaves to us: numbers, whose spelling differs between the two languages.
func normalDuckDB(v *string, columnType string) (string, error) {
	if v == nil {
		return Null, nil
	}
	if columnType != "FLOAT" && columnType != "DOUBLE" {
		return *v, nil
	}
	f, err := strconv.ParseFloat(*v, 64)
	return normalFloat(f, columnType == "FLOAT"), err
}
