package checkpoint

// Role is how a server gets its transactions.
type Role uint8

// Roles. Unknown is for a server whose replication status may not be looked at.
const (
	RoleUnknown Role = iota
	RolePrimary      // replicates from nobody
	RoleReplica
)

func (r Role) String() string {
	switch r {
	case RolePrimary:
		return "primary"
	case RoleReplica:
		return "replica"
	}
	return "unknown"
}

// Server is what the rules need to know about a server that answered. Servers that did not answer are left out.
type Server struct {
	Name     string // for messages: its address
	UUID     [16]byte
	Executed Set // gtid_executed
	Owned    Set // gtid_owned, asked for before Executed: transactions that are being committed
	Purged   Set // gtid_purged, a subset of Executed
	Role     Role
	Sources  [][16]byte // UUIDs of the servers it replicates from, as far as known
}

// Kind says whether a server can serve a position.
type Kind uint8

// Kinds, from good to bad.
const (
	OK       Kind = iota // it has the position and all that follows
	Behind               // it lacks transactions of the position that can still come: wait
	Purged               // it has thrown away transactions that are not in the position
	Diverged             // it lacks transactions of the position that can no longer come: another history
)

func (k Kind) String() string {
	switch k {
	case OK:
		return "ok"
	case Behind:
		return "behind"
	case Purged:
		return "purged"
	default:
		return "diverged"
	}
}

// Answer says what a server is for a position.
type Answer struct {
	Kind    Kind
	Missing Set      // Behind, Diverged: what the server lacks; Purged: what it threw away
	Holders []string // names of other servers that have all of Missing; for Purged, that still can send it
	Own     bool     // Diverged: Missing includes transactions that this very server committed once
	// Meant is set for Purged when the position has a hole before its first interval of some server and filling such
	// holes would make it servable: a position means everything before it, so this set was probably meant.
	Meant Set
}

// Resume says for every server whether a reader that has exactly position can go on there without a gap and without
// reading another history:
//
//   - all of position must be in Executed, else the server ignores silently what it does not know, and its later
//     transactions need not build on what was read;
//   - nothing outside position may be in Purged.
//
// https://dev.mysql.com/doc/refman/9.0/en/replication-gtids-auto-positioning.html
func Resume(position Set, servers []Server) []Answer {
	answers := make([]Answer, len(servers))
	for i := range servers {
		answers[i] = resume(position, servers, i)
	}
	return answers
}

func resume(position Set, servers []Server, i int) Answer {
	s := &servers[i]
	lacking := position.Subtract(s.Executed)
	if lost := never(lacking, servers, i, nil); !lost.IsEmpty() {
		return Answer{Kind: Diverged, Missing: lost, Holders: holders(lost, servers, i), Own: !lost.Of(s.UUID).IsEmpty()}
	}
	if gone := s.Purged.Subtract(position); !gone.IsEmpty() {
		a := Answer{Kind: Purged, Missing: gone}
		for j := range servers {
			if j != i && servers[j].Executed.Contains(gone) && servers[j].Purged.Intersect(gone).IsEmpty() {
				a.Holders = append(a.Holders, servers[j].Name)
			}
		}
		if filled := fillLeadingHoles(position).Intersect(s.Executed); filled.Contains(s.Purged.Union(position)) {
			a.Meant = filled
		}
		return a
	}
	if !lacking.IsEmpty() {
		return Answer{Kind: Behind, Missing: lacking, Holders: holders(lacking, servers, i)}
	}
	return Answer{}
}

// never returns the part of lacking that server i cannot get any more. What nobody can say is taken for delay.
func never(lacking Set, servers []Server, i int, seen []int) Set {
	s := &servers[i]
	// The binary log has a transaction before gtid_executed does.
	lacking = lacking.Subtract(s.Owned)
	if lacking.IsEmpty() || s.Role == RolePrimary {
		return lacking
	}
	for _, j := range seen {
		if j == i {
			return lacking // a ring of replicas, none of which has it
		}
	}
	seen = append(seen[:len(seen):len(seen)], i)
	if len(s.Sources) == 0 {
		// Where it replicates from is not known. Only its own transactions surely do not come by themselves.
		own := lacking.Of(s.UUID)
		for j := range servers {
			if j != i {
				own = own.Subtract(servers[j].Executed.Subtract(servers[j].Purged))
			}
		}
		return own
	}
	rest := lacking
	for _, id := range s.Sources {
		j := byUUID(servers, id)
		if j < 0 {
			return Set{} // a source that did not answer may have everything
		}
		rest = rest.Subtract(servers[j].Executed.Subtract(servers[j].Purged))
		coming := rest.Subtract(servers[j].Executed)
		rest = rest.Subtract(coming.Subtract(never(coming, servers, j, seen)))
	}
	return rest
}

func byUUID(servers []Server, id [16]byte) int {
	for j := range servers {
		if servers[j].UUID == id {
			return j
		}
	}
	return -1
}

func holders(set Set, servers []Server, except int) []string {
	var names []string
	for j := range servers {
		if j != except && servers[j].Executed.Contains(set) {
			names = append(names, servers[j].Name)
		}
	}
	return names
}

// LeadingHoles returns what lies before the first interval of each server and tag of the set. A position means everything
// before it, so a set with such holes is seldom what was meant.
func (s Set) LeadingHoles() Set { return fillLeadingHoles(s).Subtract(s) }

// fillLeadingHoles returns the set with everything before each server's first interval added.
func fillLeadingHoles(s Set) Set {
	filled := s.Clone()
	for i := range filled.runs {
		filled.runs[i].intervals[0].First = 1
	}
	return filled
}

// Errant returns for every server the transactions that were committed on it although it is a replica, and that no
// other server has. They reach a reader of that server and make the histories differ. Transactions of other servers'
// UUIDs that the peers lack are taken for replication delay, and so are those of a server that is not known to be a
// replica.
func Errant(servers []Server) []Set {
	errant := make([]Set, len(servers))
	for i := range servers {
		if servers[i].Role != RoleReplica || len(servers) < 2 {
			continue
		}
		own := servers[i].Executed.Of(servers[i].UUID)
		for j := range servers {
			if j != i {
				own = own.Subtract(servers[j].Executed)
			}
		}
		errant[i] = own
	}
	return errant
}
