package envcache

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadHOCON(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("more.conf", "b = 7\n")
	write("loop.conf", "include \"loop.conf\"\n")
	cases := []struct{ text, want string }{
		{"a { b = 1, c: [x, \"y\"] }\na.d = ${HOME_OF_TEST}\n", `{"a":{"b":1,"c":["x","y"],"d":"here"}}`},
		{"include \"more.conf\"\na = ${b}\n", `{"a":7,"b":7}`},
		{"a = ${nowhere}", "2.conf:1:5: there is no value for ${nowhere}"},
		{"a = 1\nb = {\nsecret = hunter2\n", "3.conf:"},
		{"include url(\"http://127.0.0.1:1/x\")\n", "4.conf: it includes a URL, which is not read"},
		{"include \"loop.conf\"\n", "loop.conf: it is nested too deep, or includes itself"},
		{"[1, 2]", "6.conf: it is a list, not a mapping"},
		{"a = \xff", "7.conf: it is no text in UTF-8"},
	}
	var documents [][]HOCONPart
	for i, c := range cases {
		documents = append(documents, []HOCONPart{{File: write(string(rune('0'+i))+".conf", c.text)}})
	}
	found, err := ReadHOCON(t.Context(), t.TempDir(), Options{}, []string{"HOME_OF_TEST=here"}, documents)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		data, err := json.Marshal(found[i].Value)
		if err != nil {
			t.Fatal(err)
		}
		got := string(data)
		if e := found[i].Error; e != nil {
			got = e.Error()
		}
		if !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s gives %s, not %s", c.text, got, c.want)
		}
	}
}
