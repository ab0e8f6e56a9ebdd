package migrate

func flags() []Row      { return nil }
func behaviours() []Row { return nil }
