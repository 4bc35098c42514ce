package merge

import "fmt"

// Kind names how a change contradicts what the lake holds.
type Kind uint8

// The ways in which lake and source can turn out to differ.
const (
	InsertOfPresent Kind = iota // an insert of a key that is there
	UpdateOfAbsent              // an update of a key that is not
	DeleteOfAbsent              // a delete of a key that is not
	ChangeOfAbsent              // an update or delete, collapsed in the batch, of a key that is not
)

func (k Kind) String() string {
	switch k {
	case InsertOfPresent:
		return "insert of a key that the lake already has"
	case UpdateOfAbsent:
		return "update of a key that the lake does not have"
	case DeleteOfAbsent:
		return "delete of a key that the lake does not have"
	default:
		return "change of a key that the lake does not have"
	}
}

// Anomaly is one contradiction, with the key of the row for a person to look up.
type Anomaly struct {
	Kind Kind
	Key  string
}

func (a Anomaly) String() string { return fmt.Sprintf("%s: %s", a.Kind, a.Key) }

// maxNamed bounds how many anomalies of a batch keep their key; all are counted.
const maxNamed = 20

type oddities struct {
	count int
	named []Anomaly
}

func (o *oddities) add(kind Kind, k Key, raw []byte, codec *KeyCodec) {
	o.count++
	if len(o.named) < maxNamed {
		o.named = append(o.named, Anomaly{kind, codec.Text(k, raw)})
	}
}
