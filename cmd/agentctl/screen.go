package main

import "io"

// screen is where a task's console is shown: the standard output, cleaned if it
// is a terminal.
func (a *app) screen() io.Writer {
	if !terminal(a.Stdout) {
		return a.Stdout
	}
	return &cleaner{to: a.Stdout}
}

// cleaner lets through what a console may do to a terminal: text, line breaks,
// going back in the line, and colours. Other control characters and escape
// sequences are dropped: with them a task could retitle the window, write into
// the clipboard, or type for whoever looks.
type cleaner struct {
	to    io.Writer
	state cleanState
	seq   []byte // the sequence so far, from ESC on
}

type cleanState int

const (
	inText    cleanState = iota
	inEscape             // ESC
	inControl            // ESC [ …
	inString             // ESC ] … and its like, up to BEL or ESC \
	inStringEscape
	inTwo // the first byte of two that may be a control character: U+0080 to U+009F
)

// longest is a bound on what is kept of a sequence of colours.
const longest = 64

func (c *cleaner) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for _, b := range p {
		out = c.step(out, b)
	}
	if _, err := c.to.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// step takes one byte and appends what may be shown by now.
func (c *cleaner) step(out []byte, b byte) []byte {
	switch c.state {
	case inEscape:
		return c.escape(out, b)
	case inControl:
		return c.control(out, b)
	case inString:
		switch b {
		case 0x07, '\n': // a line break ends what was never closed
			c.state = inText
		case 0x1b:
			c.state = inStringEscape
		}
		return out
	case inTwo:
		c.state = inText
		if b >= 0x80 && b <= 0x9f {
			return out
		}
		return c.text(append(out, 0xc2), b)
	case inStringEscape:
		c.state = inText
		if b != '\\' { // another sequence begins in the middle
			return c.escape(out, b)
		}
		return out
	}
	return c.text(out, b)
}

func (c *cleaner) text(out []byte, b byte) []byte {
	switch {
	case b == 0x1b:
		c.state = inEscape
	case b == 0xc2:
		c.state = inTwo
	case b >= 0x20 && b != 0x7f, b == '\n', b == '\r', b == '\t', b == '\b':
		return append(out, b)
	}
	return out
}

func (c *cleaner) escape(out []byte, b byte) []byte {
	switch b {
	case '[':
		c.state, c.seq = inControl, append(c.seq[:0], 0x1b, '[')
	case ']', 'P', 'X', '^', '_':
		c.state = inString
	case 0x1b:
		c.state = inEscape
	default:
		c.state = inText
	}
	return out
}

// control is inside ESC [. Only the sequence that ends with m sets colours; K
// clears the rest of the line, which progress bars need.
func (c *cleaner) control(out []byte, b byte) []byte {
	switch {
	case b >= 0x40 && b <= 0x7e:
		c.state = inText
		if (b == 'm' || b == 'K') && len(c.seq) < longest {
			return append(append(out, c.seq...), b)
		}
	case b >= '0' && b <= '9', b == ';':
		if len(c.seq) < longest {
			c.seq = append(c.seq, b)
		}
	case b >= 0x20 && b <= 0x3f: // a private or intermediate byte: not a colour
		c.seq = append(c.seq[:0], make([]byte, longest)...)
	default:
		c.state = inText
		return c.text(out, b)
	}
	return out
}
