package catalog

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// A commit to several tables.
//
// No store changes two objects at once, so one object decides for all:
//
//  1. Reserve: each table gets a next version with the metadata it has, and beside them the transaction's id and the
//     metadata it is to get. Readers notice nothing.
//  2. Decide: the exclusive creation of .tidemark/transactions/ID with "committed" in it is the commit.
//  3. Settle: each table gets the version after, with the new metadata if it was committed, with the old ones if not.
//
// Who meets a reservation looks for the decision and settles the table before doing anything else (newestVersion), so for
// everything that comes through a catalog all tables change at one moment, and a crash at any point leaves either all or
// none of it. Who meets a reservation without decision reads the old state; who wants to commit on it decides against the
// transaction first (publish): nobody ever waits. Readers of a table's path follow the hint, which step 3 moves table by
// table.

// Change is one table's part of a transaction.
type Change struct {
	Base     *Version // as Load or Vacant returned it
	Metadata []byte   // nil to drop the table
	Why      string   // it is dropped, for people
}

// reservation is what a version that holds the place for a transaction says besides the metadata before it.
type reservation struct {
	ID   string `json:"id"`
	Next string `json:"next"`

	before []byte
}

var reservationMark = []byte(`{"tidemark-transaction":`)

func (r *reservation) marshal() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	inner, isObject := bytes.CutPrefix(bytes.TrimSpace(r.before), []byte("{"))
	if !isObject {
		return nil, errors.New("metadata are not a JSON object")
	}
	return slices.Concat(reservationMark, text, []byte(","), inner), nil
}

// parseReservation returns nil for a version that is none.
func parseReservation(body []byte) (*reservation, error) {
	text, ok := bytes.CutPrefix(body, reservationMark)
	if !ok {
		return nil, nil
	}
	var r reservation
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("a transaction's reservation: %w", err)
	}
	inner, ok := bytes.CutPrefix(text[d.InputOffset():], []byte(","))
	if !ok || r.ID == "" || strings.Contains(r.ID, "/") {
		return nil, errors.New("a transaction's reservation is damaged")
	}
	r.before = append([]byte("{"), inner...)
	return &r, nil
}

// decision is what a transaction came to.
type decision string

const (
	undecided decision = ""
	committed decision = "committed"
	aborted   decision = "aborted"
)

func decisionName(transaction string) string { return ".tidemark/transactions/" + transaction }

func (b *Bucket) decision(ctx context.Context, transaction string) (decision, error) {
	body, err := b.store.Get(ctx, decisionName(transaction))
	if errors.Is(err, fs.ErrNotExist) {
		return undecided, nil
	}
	if d := decision(body); err == nil && d != committed && d != aborted {
		err = fmt.Errorf("%s holds neither %q nor %q", b.store.URI(decisionName(transaction)), committed, aborted)
	}
	return decision(body), err
}

// decide decides a transaction unless it is decided, and returns what was decided. After an error it looks once more. It fails
// with ErrConflict when the transaction was over, and its decision deleted, between the two.
func (b *Bucket) decide(ctx context.Context, transaction string, wanted decision) (decision, error) {
	err := b.store.PutIfAbsent(ctx, decisionName(transaction), []byte(wanted))
	if err == nil {
		return wanted, nil
	}
	made, lookErr := b.decision(context.WithoutCancel(ctx), transaction)
	if lookErr == nil && made != undecided {
		return made, nil
	}
	if lookErr == nil && errors.Is(err, fs.ErrExist) {
		return undecided, fmt.Errorf("%w: another transaction was settled just now", ErrConflict)
	}
	return undecided, errors.Join(err, lookErr)
}

// SwapAll commits to several tables, to all or to none, provided that each base is its table's newest version. Its errors
// are those of Swap: ErrConflict means that nothing was or will be applied; after any other it is unknown, but it is all or
// none for ever. Tables come back in the order of the changes; HintErr is also set when a table was committed but could
// not be settled, which the next Load does.
func (b *Bucket) SwapAll(ctx context.Context, changes []Change) ([]*Version, error) {
	transaction := rand.Text()
	order := slices.Clone(changes)
	slices.SortFunc(order, func(a, b Change) int { return strings.Compare(a.Base.ID.Path(), b.Base.ID.Path()) })
	reserved := map[Identifier]*Version{}
	made, err := undecided, error(nil)
	for _, c := range order {
		if reserved[c.Base.ID] != nil {
			err = fmt.Errorf("%s is changed twice", c.Base.ID)
		} else {
			reserved[c.Base.ID], err = b.reserve(ctx, transaction, c)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		if made, err = b.decide(ctx, transaction, committed); made == aborted {
			err = fmt.Errorf("%w: another writer came first", ErrConflict)
		}
	}
	if err != nil && made == undecided {
		made = b.giveUp(ctx, transaction)
	}
	for _, c := range changes {
		b.forget(c.Base.ID)
	}
	if made == undecided {
		return nil, fmt.Errorf("commit to %d tables: whether it was applied is unknown: %w", len(changes), err)
	}
	versions, settled := b.settleAll(ctx, changes, reserved, made)
	var unknown *OutcomeError
	if settled && !errors.As(err, &unknown) {
		_ = b.store.Delete(context.WithoutCancel(ctx), decisionName(transaction)) // one left behind does no harm
	}
	if made == committed {
		return versions, nil
	}
	if !errors.Is(err, ErrConflict) {
		err = fmt.Errorf("%w: it was given up: %w", ErrConflict, err)
	}
	return nil, fmt.Errorf("commit to %d tables: %w", len(changes), err)
}

// reserve is step 1 for one table.
func (b *Bucket) reserve(ctx context.Context, transaction string, c Change) (*Version, error) {
	if c.Base.reserved != nil {
		if made, err := b.decide(ctx, c.Base.reserved.ID, aborted); err != nil {
			return nil, err
		} else if made == committed {
			return nil, fmt.Errorf("%w: %s was changed by another transaction", ErrConflict, c.Base.ID)
		}
	}
	r := reservation{ID: transaction, Next: string(c.Metadata), before: c.Base.Metadata}
	if c.Metadata == nil {
		r.Next = string(b.end(c.Why))
	}
	if c.Base.N == 0 {
		r.before = b.end("it never was: a transaction is about to create it")
	}
	body, err := r.marshal()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Base.ID, err)
	}
	return b.place(ctx, c.Base, body)
}

// giveUp decides against a transaction that failed before it was decided; it may still turn out to be committed.
func (b *Bucket) giveUp(ctx context.Context, transaction string) decision {
	made, err := b.decide(context.WithoutCancel(ctx), transaction, aborted)
	if err != nil {
		return undecided
	}
	return made
}

// settleAll is step 3, and reports whether every table was settled. What cannot be settled now is by who meets it next.
func (b *Bucket) settleAll(ctx context.Context, changes []Change, reserved map[Identifier]*Version, made decision) ([]*Version, bool) {
	ctx = context.WithoutCancel(ctx)
	versions, settled := make([]*Version, len(changes)), true
	for i, c := range changes {
		versions[i] = c.Base
		r := reserved[c.Base.ID]
		if r == nil {
			continue
		}
		v, err := b.settle(ctx, r, made)
		if errors.Is(err, ErrConflict) { // another did
			v, err = b.read(ctx, c.Base.ID, r.N+1)
		}
		if err != nil {
			settled = false
			v = &Version{ID: c.Base.ID, N: r.N + 1, URI: b.MetadataURI(c.Base.ID, r.N+1), Metadata: []byte(r.reserved.Next), HintErr: fmt.Errorf("%s is committed, but not shown to readers without a catalog yet: %w", c.Base.ID, err)}
		}
		versions[i] = v
	}
	return versions, settled
}

// settle creates the version after a reservation.
func (b *Bucket) settle(ctx context.Context, v *Version, made decision) (*Version, error) {
	body := v.reserved.before
	if made == committed {
		body = []byte(v.reserved.Next)
	}
	next, err := b.place(ctx, v, body)
	if err != nil {
		return nil, err
	}
	return b.Point(ctx, next), nil
}
