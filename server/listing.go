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
// rows, in which order, how many. column names the column of a field, tie is the
// one that decides between equal rows.
func newListing(only, orderBy texts, p paging, known func(string) bool, column func(string) string, tie string, choose func(*filter) error) (l listing, err error) {
	if l.fields, err = parseFields(only, known); err != nil {
		return l, err
	}
	var where filter
	if err := choose(&where); err != nil {
		return l, err
	}
	sorted, err := order(orderBy, column, tie)
	if err != nil {
		return l, err
	}
	limit, bounds, err := p.limit()
	l.tail, l.args = where.text()+sorted+limit, slices.Concat(where.args, bounds)
	return l, err
}
