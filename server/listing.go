package server

import "slices"

// listing is what every get_all makes of its request before it reads.
type listing struct {
	fields fields
	// tail follows the FROM clause; args are for the placeholders in it.
	tail string
	args []any
}

// newListing reads the part of a request that all lists share: which fields, which
// rows, in which order, how many. field gives what a field is in a statement, tie is the
// one that decides between equal rows.
func newListing(only, orderBy texts, p paging, known func(string) bool, field func(string) expr, tie string, choose func(*filter) error) (l listing, err error) {
	if l.fields, err = parseFields(only, known); err != nil {
		return l, err
	}
	var where filter
	if err := choose(&where); err != nil {
		return l, err
	}
	sorted, by, err := order(orderBy, field, tie)
	if err != nil {
		return l, err
	}
	limit, bounds, err := p.limit()
	l.tail, l.args = where.text()+sorted+limit, slices.Concat(where.args, by, bounds)
	return l, err
}
