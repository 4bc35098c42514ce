package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/checkpoint"
)

// Report writes what was found about a server as a paragraph for a person: the verdict, then a line for each thing that
// it rests on, then what to do, and what may hurt later.
func (v *Verdict) Report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s: %s\n", v.Host, v.label(), v.Reason)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s  %s\n", name, fmt.Sprintf(format, args...))
	}
	if s := &v.State; s.Err == nil && s.GTIDMode != "" {
		line("server", "MySQL %s, %s, server_uuid %s%s", s.Version, s.roleText(), s.UUIDString(), ifThen(s.ReadOnly, ", read-only"))
		var settings []string
		for _, setting := range s.Settings() {
			settings = append(settings, setting[0]+"="+setting[1])
		}
		line("settings", "%s", strings.Join(settings, " "))
		if d := v.Details; d != nil {
			line("executed", "%s; beyond the checkpoint: %s; of the checkpoint it lacks: %s%s", plural(s.Executed.Count(), "transaction"), counted(d.Extra), counted(d.Lacks), holesText(s.Executed))
			line("purged", "%s; of those the lake lacks: %s", plural(s.Purged.Count(), "transaction"), counted(d.Gone))
			line("retention", "%s", v.retentionText())
		}
		line("lag", "%s", s.lagText())
		line("privileges", "%s", v.privilegesText())
		line("filters", "%s", s.filtersText())
		if d := v.Details; d != nil {
			for _, c := range d.Cascades {
				line("cascades", "%s: its binary log does not show those changes (%s); ingest refuses %s unless told --cascades ignore", c, d.Hides, c.Child)
			}
		}
	}
	if v.Advice != "" {
		line("do", "%s", v.Advice)
	}
	for _, w := range v.Warnings {
		line("note", "%s", w)
	}
	return b.String()
}

func ifThen(yes bool, text string) string {
	if yes {
		return text
	}
	return ""
}

// counted writes a set as its size and its short text.
func counted(s checkpoint.Set) string {
	if s.IsEmpty() {
		return "none"
	}
	return fmt.Sprintf("%d (%s)", s.Count(), s.Short())
}

func holesText(executed checkpoint.Set) string {
	holes := executed.Holes()
	if holes.IsEmpty() {
		return ""
	}
	return "; it skips " + counted(holes)
}

func (s *State) roleWord() string {
	if s.Role == checkpoint.RoleUnknown {
		return "role unknown"
	}
	return s.Role.String()
}

func (s *State) roleText() string {
	if s.Role != checkpoint.RoleReplica {
		return s.roleWord()
	}
	var of []string
	for _, id := range s.Sources {
		of = append(of, checkpoint.FormatUUID(id))
	}
	if len(of) == 0 {
		return "replica of a server it does not know yet"
	}
	return "replica of " + strings.Join(of, " and ")
}

func (s *State) lagText() string {
	switch {
	case s.Role == checkpoint.RolePrimary:
		return "none: it is the primary"
	case s.Role == checkpoint.RoleUnknown:
		return "unknown (takes REPLICATION CLIENT)"
	case !s.Running:
		return "its replication does not run" + ifThen(s.Problem != "", ": "+s.Problem)
	case s.Lag == nil:
		return "unknown: it does not say"
	}
	return Span(*s.Lag) + " behind its source"
}

func (s *State) filtersText() string {
	var all []string
	for _, f := range append(append([]FilterRule{}, s.Applier...), s.Binlog...) {
		all = append(all, f.String())
	}
	if slices.ContainsFunc(s.NotSeen, func(n string) bool { return strings.Contains(n, "filter") || strings.Contains(n, "binlog-do-db") }) {
		all = append(all, "not all could be looked at, see the notes")
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, "; ")
}

func (v *Verdict) retentionText() string {
	s := &v.State
	var keeps []string
	if s.Retention > 0 {
		keeps = append(keeps, Span(s.Retention))
	}
	if s.SpaceLimit > 0 {
		keeps = append(keeps, fmt.Sprintf("%d MiB", s.SpaceLimit>>20))
	}
	if s.FilesLimit > 0 {
		keeps = append(keeps, fmt.Sprintf("%d files", s.FilesLimit))
	}
	text := "nothing is purged by itself"
	if len(keeps) > 0 {
		text = "keeps " + strings.Join(keeps, " or ")
	}
	switch h := v.Details.Headroom; {
	case h == nil:
		return text + "; how long what the lake lacks is safe could not be told"
	case h.Gone:
		return text + "; what the lake lacks is purged already"
	case h.Forever:
		return text
	default:
		if text += fmt.Sprintf("; what the lake lacks is safe for %s", h); h.File != "" {
			text += fmt.Sprintf(" (in %s)", h.File)
		}
		return text
	}
}

func (v *Verdict) privilegesText() string {
	has := v.State.Privileges()
	var list []string
	for _, name := range []string{"REPLICATION SLAVE", "REPLICATION CLIENT"} {
		if has[name] {
			list = append(list, name)
		} else {
			list = append(list, "no "+name)
		}
	}
	if v.Details != nil && v.Kind != Unreachable {
		list = append(list, "sees "+plural(uint64(v.Details.Tables), "followed table"))
	}
	return strings.Join(list, ", ")
}
