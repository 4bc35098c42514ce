package source

import (
	"encoding/json"
	"strings"
)

// MarshalJSON writes the verdict for machines. Times are seconds; sets are MySQL's text.
func (v Verdict) MarshalJSON() ([]byte, error) {
	out := report{
		Host: v.Host, Verdict: v.Kind, Fault: v.Fault, Reason: v.Reason, Advice: v.Advice, Warnings: v.Warnings, Missing: v.Missing.String(), Meant: v.Meant.String(), Errant: v.Errant.String(),
	}
	if s := v.State; s.Err == nil {
		out.Version, out.UUID, out.Role, out.ReadOnly = s.Version, s.UUIDString(), s.Role.String(), s.ReadOnly
		out.Executed, out.Purged, out.Holes = s.Executed.String(), s.Purged.String(), s.Executed.Holes().String()
		keeps := s.Retention.Seconds()
		out.Keeps, out.SpaceLimit, out.FilesLimit = &keeps, s.SpaceLimit, s.FilesLimit
		if s.Lag != nil {
			lag := s.Lag.Seconds()
			out.Lag = &lag
		}
		out.Settings = map[string]string{}
		for _, setting := range s.Settings() {
			out.Settings[setting[0]] = setting[1]
		}
		for _, f := range append(append([]FilterRule{}, s.Applier...), s.Binlog...) {
			out.Filters = append(out.Filters, f.String())
		}
		out.Privileges, out.NotSeen = s.Privileges(), s.NotSeen
	}
	if d := v.Details; d != nil {
		out.Lacks, out.Extra, out.Gone, out.Tables = d.Lacks.String(), d.Extra.String(), d.Gone.String(), &d.Tables
		for _, c := range d.Cascades {
			out.Hides = d.Hides
			out.Cascades = append(out.Cascades, reportedCascade{c.Name, c.Child.String(), c.Parent.String(), c.OnUpdate, c.OnDelete})
		}
		if h := d.Headroom; h != nil {
			out.Headroom = &reportedHeadroom{Forever: h.Forever, Purged: h.Gone, File: h.File, Limit: h.Limit}
			if !h.Forever {
				left := h.Left.Seconds()
				out.Headroom.Seconds = &left
			}
		}
	}
	return json.Marshal(out)
}

type report struct {
	Host       string            `json:"host"`
	Verdict    VerdictKind       `json:"verdict"`
	Fault      Kind              `json:"fault,omitempty"`
	Reason     string            `json:"reason"`
	Advice     string            `json:"advice,omitempty"`
	Warnings   []string          `json:"warnings,omitempty"`
	Missing    string            `json:"missing,omitempty"`
	Meant      string            `json:"meant,omitempty"` // purged: the position that was probably meant
	Errant     string            `json:"errant,omitempty"`
	Version    string            `json:"version,omitempty"`
	UUID       string            `json:"server_uuid,omitempty"`
	Role       string            `json:"role,omitempty"`
	ReadOnly   bool              `json:"read_only,omitempty"`
	Settings   map[string]string `json:"settings,omitempty"`
	Executed   string            `json:"gtid_executed,omitempty"`
	Purged     string            `json:"gtid_purged,omitempty"`
	Holes      string            `json:"gtid_holes,omitempty"`        // transactions that executed skips
	Lacks      string            `json:"lacks,omitempty"`             // of the checkpoint, not executed
	Extra      string            `json:"extra,omitempty"`             // executed, not in the checkpoint
	Gone       string            `json:"purged_missing,omitempty"`    // purged, not in the checkpoint
	Lag        *float64          `json:"lag_seconds,omitempty"`       //
	Keeps      *float64          `json:"retention_seconds,omitempty"` // 0: for ever
	SpaceLimit int64             `json:"retention_bytes,omitempty"`   //
	FilesLimit int               `json:"retention_files,omitempty"`   //
	Headroom   *reportedHeadroom `json:"headroom,omitempty"`
	Privileges map[string]bool   `json:"privileges,omitempty"`
	NotSeen    []string          `json:"not_seen,omitempty"`
	Filters    []string          `json:"filters,omitempty"`
	Tables     *int              `json:"tables,omitempty"` // followed ones that the user sees
	Cascades   []reportedCascade `json:"hidden_cascades,omitempty"`
	Hides      string            `json:"hides_cascades,omitempty"` // why
}

type reportedHeadroom struct {
	Seconds *float64 `json:"seconds,omitempty"`
	Forever bool     `json:"forever,omitempty"`
	Purged  bool     `json:"purged,omitempty"`
	File    string   `json:"file,omitempty"`
	Limit   string   `json:"limit,omitempty"`
}

type reportedCascade struct {
	Name     string `json:"name"`
	Child    string `json:"child"`
	Parent   string `json:"parent"`
	OnUpdate string `json:"on_update"`
	OnDelete string `json:"on_delete"`
}

// Settings returns the settings that decide what the server's binary log holds, by name, in the order of their weight.
// Those that its version does not have are left out.
func (s State) Settings() [][2]string {
	onOff := map[bool]string{true: "ON", false: "OFF"}
	all := [][2]string{
		{"gtid_mode", s.GTIDMode},
		{"log_bin", onOff[s.LogBin]},
		{"binlog_format", s.Format},
		{"binlog_row_image", s.RowImage},
		{"binlog_row_metadata", s.Metadata},
		{"log_replica_updates", onOff[s.LogReplica]},
	}
	if s.PartialRow {
		all = append(all, [2]string{"binlog_row_value_options", "PARTIAL_JSON"})
	}
	known := all[:0]
	for _, setting := range all {
		if setting[1] != "" {
			known = append(known, setting)
		}
	}
	return known
}

// Privileges tells by what was tried which privileges the user has.
func (s State) Privileges() map[string]bool {
	client := true
	for _, n := range s.NotSeen {
		client = client && !strings.Contains(n, "REPLICATION CLIENT")
	}
	return map[string]bool{"REPLICATION SLAVE": s.MayDump == nil, "REPLICATION CLIENT": client}
}
