// Package sdk holds the embedded server against the real clearml SDK from PyPI:
// Python programs in testdata/ do what a task and its author do, and any error
// or warning that the SDK prints about a reply fails the test.
//
// It needs Python, and PyPI the first time: the SDK lives in the virtual
// environment that AGENTCTL_SDK_VENV names, else in .cache of the checkout.
package sdk
