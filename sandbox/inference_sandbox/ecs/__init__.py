"""Amazon ECS for Fargate services, as a pure state machine.

Where to look: `state` (what exists), `fleet` (the life of a task), `scheduler` (what a service does with its tasks),
`rolling` and `breaker` (the decisions, as functions of numbers), `api` (the operations, with AWS's validation),
`views` (the shapes of answers), `texts` (the words). Nothing here knows moto, boto3, a thread, a socket or a sleep;
time comes from an injected clock, and everything that happens later waits in `agenda`.
"""
