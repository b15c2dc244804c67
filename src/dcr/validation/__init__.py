"""What each sample of the shards is, what is wrong with it, and what becomes of it.

`measuring` reads shards into rows, `judging` gives every row its status, `page` shows the result;
`reasons` names what can be wrong. Import from these modules: parameters need `reasons` alone, and
the others load heavy libraries.
"""
