package source

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

// family has foreign keys with and without actions.
const family = `CREATE DATABASE shop; CREATE DATABASE crm;
CREATE TABLE crm.people (id INT PRIMARY KEY);
CREATE TABLE shop.orders (id INT PRIMARY KEY, parent INT, person INT,
  CONSTRAINT of_person FOREIGN KEY (person) REFERENCES crm.people (id) ON DELETE SET NULL,
  CONSTRAINT of_order FOREIGN KEY (parent) REFERENCES shop.orders (id) ON DELETE CASCADE);
CREATE TABLE shop.items (id INT PRIMARY KEY, order_id INT, CONSTRAINT of_items FOREIGN KEY (order_id) REFERENCES shop.orders (id) ON UPDATE CASCADE ON DELETE RESTRICT);
CREATE TABLE shop.notes (id INT PRIMARY KEY, order_id INT, CONSTRAINT of_notes FOREIGN KEY (order_id) REFERENCES shop.orders (id))`

func names(all []Cascade) string {
	var list []string
	for _, c := range all {
		list = append(list, c.String())
	}
	return strings.Join(list, "; ")
}

func TestHiddenCascades(t *testing.T) {
	t.Parallel()
	shop, err := ParseFilter("shop.*")
	require.NoError(t, err)
	native := testenv.MySQL(t, testenv.Args("--innodb-native-foreign-keys=ON"))
	logged := testenv.AddReplica(t, native)
	native.Exec(t, family+"; CREATE USER reader IDENTIFIED BY 'x'; GRANT SELECT ON shop.* TO reader; GRANT REPLICATION SLAVE ON *.* TO reader")
	logged.WaitFor(t, native.Executed(t))
	cfg := config(t, native, logged)
	states := ProbeAll(t.Context(), cfg)
	assert.Equal(t, "innodb_native_foreign_keys=ON", states[0].HidesCascades)
	assert.Empty(t, states[1].HidesCascades)

	const want = "foreign key of_items of shop.items to shop.orders ON UPDATE CASCADE; " +
		"foreign key of_order of shop.orders to shop.orders ON DELETE CASCADE; foreign key of_person of shop.orders to crm.people ON DELETE SET NULL"
	for i := range states {
		found, err := HiddenCascades(t.Context(), cfg, states, i, shop)
		require.NoError(t, err)
		assert.Equal(t, want, names(found), "a replica has the rows as its source logged them")
	}
	found, err := HiddenCascades(t.Context(), config(t, logged), ProbeAll(t.Context(), config(t, logged)), 0, shop)
	require.NoError(t, err)
	assert.Empty(t, found, "its source is not in the list")

	least := cfg
	least.User, least.Password = "reader", "x"
	found, err = HiddenCascades(t.Context(), least, ProbeAll(t.Context(), least), 0, shop)
	require.NoError(t, err)
	assert.Equal(t, want, names(found), "SELECT on the tables is enough")

	n := Inspector{Config: cfg, Filter: shop, Schema: true}
	v := n.Inspect(t.Context(), checkpoint.Position{})[0]
	assert.Equal(t, CanServe, v.Kind)
	assert.Len(t, v.Details.Cascades, 3)
	assert.Contains(t, v.Report(), "foreign key of_items of shop.items to shop.orders ON UPDATE CASCADE: its binary log does not show those changes (innodb_native_foreign_keys=ON)")
}
