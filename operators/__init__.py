"""What happens to a picture: detectors, segmenters, fitters, renderers, inpainters. Never imports ray, boto3 or jobs."""
