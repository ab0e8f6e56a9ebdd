package spec

import (
	_ "embed"
	"slices"
)

//go:generate go test -run ^(TestSchema|TestReference)$ -update .

//go:embed node.schema.json
var schema []byte

// Schema is the JSON schema of node.yaml (draft 2020-12), for editors. It refuses
// less than Decode: what concerns several fields is not in it.
func Schema() []byte { return slices.Clone(schema) }
