"""ecs-inference: a Kubernetes operator that keeps inference services on ECS Fargate as `InferenceDeployment`s ask."""

__version__ = "0.1.0"
