"""Folders of pictures: what is to do, and its doing here, through WebUIs, or on many machines.

`order.Order` says what a person asked for, as plain data that can be sent to another machine. `listing` finds the
pictures, `plan` names what each becomes (pure), `worker` makes it, `local` goes through a folder in this process,
`webui` through running WebUIs, `cluster` through Ray. `report` keeps what became of each.

A picture's outputs carry a key of its bytes, settings and weights in their names, and are renamed into place whole.
So what is there is done, what is missing or was asked otherwise is to do, and nothing else need be remembered.
"""
