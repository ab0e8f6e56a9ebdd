package migrate

// take keeps a part of a secret.
func (t *translation) take(to *string, v any) error {
	s, err := textOf(v)
	if err == nil {
		err = storable(s)
	}
	if err != nil {
		return err
	}
	*to, t.touched = s, true
	return nil
}

// set sets a field to a value's text.
func setText(path string) apply {
	return func(t *translation, v any) error {
		s, err := textOf(v)
		if err == nil {
			t.tree.set(path, s)
		}
		return err
	}
}

// setIf sets a field where a switch is on.
func setIf(path string, value any) apply {
	return func(t *translation, v any) error {
		on, err := boolOf(v)
		if err == nil && on {
			t.tree.set(path, value)
		}
		return err
	}
}

func setSwitch(path string) apply {
	return func(t *translation, v any) error {
		on, err := boolOf(v)
		if err == nil && (on || t.patch) {
			t.tree.set(path, on)
		}
		return err
	}
}

func setSeconds(path string) apply {
	return func(t *translation, v any) error {
		x, err := numberOf(v)
		if err == nil {
			t.tree.set(path, seconds(x))
		}
		return err
	}
}

func setList(path string) apply {
	return func(t *translation, v any) error {
		list, err := listOf(v)
		if err == nil {
			t.tree.add(path, list...)
		}
		return err
	}
}
