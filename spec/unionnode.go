package spec

import (
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	gpusFix  = "write a count (1), a share of one GPU (0.25), a list of devices ([0, 1]), all or none"
	slotsFix = "write auto, none or a list, as [{device: 0}, {device: 1, shares: 4}]"
)

func (g *GPURequest) decodeNode(d *decoder, n *yaml.Node, at place) {
	if n.Kind == yaml.SequenceNode && n.ShortTag() == tagSeq {
		var devices []string
		d.sequence(n, reflect.ValueOf(&devices).Elem(), place{path: at.path, key: at.key, rule: rule{each: &rule{bare: true}}})
		*g = GPURequest{Mode: GPUsList, Devices: devices}
		return
	}
	if n.Kind != yaml.ScalarNode {
		d.fail(n, at, "is "+kindOf(n), gpusFix)
		return
	}
	switch n.ShortTag() {
	case tagStr:
		g.decodeWord(d, n, at)
	case tagInt:
		if count, ok := d.whole(n, at); ok {
			g.setCount(d, n, at, count)
		}
	case tagFloat:
		if share, ok := d.decimal(n, at); ok {
			g.setShare(d, n, at, share)
		}
	default:
		d.fail(n, at, "is "+kindOf(n), gpusFix)
	}
}

func (g *GPURequest) decodeWord(d *decoder, n *yaml.Node, at place) {
	switch word := n.Value; {
	case word == GPUsNone || word == GPUsAll:
		*g = GPURequest{Mode: word}
	case decimalForm.MatchString(word):
		d.fail(n, at, "is a text", "write "+word+", without quotes")
	case strings.Contains(word, ",") || deviceForm.MatchString(word):
		d.fail(n, at, quote(word)+" is a text", "write devices as a list, as [0, 1] or [GPU-…]")
	default:
		d.fail(n, at, quote(word)+" is not known", gpusFix)
	}
}

func (g *GPURequest) setCount(d *decoder, n *yaml.Node, at place, count int64) {
	switch {
	case count == 0:
		*g = GPURequest{Mode: GPUsNone}
	case count < 0 || count > maxGPUs:
		d.fail(n, at, "is not a number of GPUs", "write a count of 1 to "+strconv.Itoa(maxGPUs))
	default:
		*g = GPURequest{Mode: GPUsCount, Count: int(count)}
	}
}

func (g *GPURequest) setShare(d *decoder, n *yaml.Node, at place, share float64) {
	if share <= 0 || share >= 1 {
		d.fail(n, at, "is neither a count nor a share of one GPU", "write a whole count, or a share between 0 and 1, as 0.25")
		return
	}
	*g = GPURequest{Mode: GPUsShare, Share: share}
}

func (s *Slots) decodeNode(d *decoder, n *yaml.Node, at place) {
	switch {
	case n.Kind == yaml.SequenceNode && n.ShortTag() == tagSeq:
		list := []Slot{}
		d.sequence(n, reflect.ValueOf(&list).Elem(), place{path: at.path, key: at.key, rule: rule{each: &rule{example: "{device: 0}"}}})
		*s = Slots{Mode: SlotsList, List: list}
	case n.Kind == yaml.ScalarNode && n.ShortTag() == tagStr && (n.Value == SlotsAuto || n.Value == SlotsNone):
		*s = Slots{Mode: n.Value}
	case n.Kind == yaml.ScalarNode && n.ShortTag() == tagStr:
		d.fail(n, at, quote(n.Value)+" is not known", slotsFix)
	default:
		d.fail(n, at, "is "+kindOf(n), slotsFix)
	}
}
