"""`python -m saga_service` is `saga-service`."""

from saga_service.cli.main import main

if __name__ == "__main__":
    main()
