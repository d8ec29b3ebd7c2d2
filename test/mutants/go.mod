module multus-cni/test/mutants

go 1.24.2
