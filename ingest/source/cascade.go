package source

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cascade is a foreign key whose actions change rows of a table when rows of another one change.
type Cascade struct {
	Name               string
	Child, Parent      TableName
	OnUpdate, OnDelete string // the rules as MySQL names them: "CASCADE", "SET NULL", "NO ACTION", ...
}

func (c Cascade) String() string {
	text := fmt.Sprintf("foreign key %s of %s to %s", c.Name, c.Child, c.Parent)
	for _, rule := range [][2]string{{" ON UPDATE ", c.OnUpdate}, {" ON DELETE ", c.OnDelete}} {
		if acts(rule[1]) {
			text += rule[0] + rule[1]
		}
	}
	return text
}

// actions are the rules that change rows of the child. InnoDB has no SET DEFAULT; another engine may.
var actions = [...]string{"CASCADE", "SET NULL", "SET DEFAULT"}

func acts(rule string) bool { return slices.Contains(actions[:], rule) }

// MySQL 9.6 moved the actions of foreign keys from InnoDB into the SQL layer, where they are logged.
// https://dev.mysql.com/doc/refman/9.6/en/innodb-parameters.html#sysvar_innodb_native_foreign_keys
const loggedMajor, loggedMinor = 9, 6

func (s *State) askCascades(c *session) error {
	var major, minor int
	n, _ := fmt.Sscanf(s.Version, "%d.%d", &major, &minor)
	if n == 2 && (major < loggedMajor || major == loggedMajor && minor < loggedMinor) {
		s.HidesCascades = fmt.Sprintf("MySQL %s, before %d.%d", s.Version, loggedMajor, loggedMinor)
		return nil
	}
	native, _, err := c.variable("innodb_native_foreign_keys")
	if isOn(native) {
		s.HidesCascades = "innodb_native_foreign_keys=ON"
	}
	return err
}

// HiddenCascades returns the foreign keys through which followed tables change without the binary log of server i showing
// it: those of the server, and of the servers of the list that its rows come through.
func HiddenCascades(ctx context.Context, cfg Config, states []State, i int, filter Filter) ([]Cascade, error) {
	cfg = cfg.ensureDefaults()
	var all []Cascade
	if !states[i].Usable() {
		return nil, nil
	}
	for _, j := range upstream(states, i) {
		if states[j].HidesCascades == "" || !states[j].Usable() {
			continue
		}
		found, err := cascadesOf(ctx, cfg, states[j].Host, filter)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// whyHidden says why the binary log of server i does not show cascades.
func whyHidden(states []State, i int) string {
	for _, j := range upstream(states, i) {
		if why := states[j].HidesCascades; why != "" && j == i {
			return why
		} else if why != "" {
			return states[j].Host + ", which it replicates from, has " + why
		}
	}
	return ""
}

// cascadesOf lists the cascading foreign keys of followed tables on a server, as far as the user may see the tables.
func cascadesOf(ctx context.Context, cfg Config, host string, filter Filter) ([]Cascade, error) {
	c, err := cfg.connect(ctx, host)
	if err != nil {
		return nil, err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	rules := "('" + strings.Join(actions[:], "','") + "')"
	var rows []map[string]string
	// A server with very many tables may take a while.
	if err = c.raw.SetDeadline(time.Now().Add(10 * cfg.ConnectTimeout)); err == nil {
		rows, err = c.rows("SELECT constraint_name AS n, constraint_schema AS d, table_name AS t, unique_constraint_schema AS pd, referenced_table_name AS pt, " +
			"update_rule AS u, delete_rule AS x FROM information_schema.referential_constraints WHERE update_rule IN " + rules + " OR delete_rule IN " + rules + " ORDER BY 2, 3, 1")
	}
	if err != nil {
		return nil, &Error{Kind: Classify(err), Host: host, Op: "list the foreign keys", Err: err}
	}
	var found []Cascade
	for _, r := range rows {
		if filter.Match(r["d"], r["t"]) {
			found = append(found, Cascade{r["n"], TableName{r["d"], r["t"]}, TableName{r["pd"], r["pt"]}, r["u"], r["x"]})
		}
	}
	return found, nil
}
